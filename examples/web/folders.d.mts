import type { Folders } from "./index.mjs";

/** Node's file system, for texts that include files. */
export const folders: Folders;
