/** What is known of the machine and the dispatch. Everything may be left out; the names are the command's. */
export interface Options {
  /** The kind of GPU: Apple by default. */
  target?: "apple" | "nvidia" | "amd" | "intel";
  /** Lanes of a subgroup, 1 to 128; the target's by default. */
  subgroup_size?: number;
  /** Banks of workgroup memory; the target's by default. */
  banks?: "32x4" | "16x4" | "16x16";
  /** Replaces the workgroup size of the kernels. */
  workgroup_size?: [number, number?, number?];
  /** How many workgroups are dispatched. A trace needs it. */
  num_workgroups?: [number, number?, number?];
  /** Most points times lanes that are looked at per access. */
  budget?: number;
  /** Values of uniform fields (`params.n` or `n`) and overrides. */
  set?: Record<string, number | boolean>;
  /** Folders for included files, after the file's own. */
  include?: string[];
  /** Names for the preprocessor. */
  defines?: Record<string, string>;
  /** For a trace: sizes in bytes of storage buffers, filled with zeros. */
  buffers?: Record<string, number>;
  /** For a trace: bytes of each buffer that is not named and ends with an array without a length. */
  buffer_bytes?: number;
  /** For Metal text: with the guards that WebGPU demands. */
  checked?: boolean;
}

export type Pattern = string;

/** One access of a kernel. Counts are averages per request, which is what the lanes of one subgroup ask together. */
export interface Site {
  file: string;
  line: number;
  column: number;
  kernel: string;
  buffer: string;
  space: string;
  op: "load" | "store" | "atomic";
  bytes_per_lane: number;
  active_lanes: number | null;
  pattern: Pattern;
  stride_bytes: number | null;
  stride_symbol: string | null;
  blocks32: number | null;
  blocks64: number | null;
  blocks128: number | null;
  blocks32_if_aligned: number | null;
  blocks64_if_aligned: number | null;
  blocks128_if_aligned: number | null;
  /** Distinct bytes that lanes asked for. */
  useful_bytes: number | null;
  /** Bytes in the target's blocks. */
  fetched_bytes: number | null;
  confidence: "exact" | "averaged" | "estimated" | "unknown";
  assumptions: string[];
  copies: number;
  copies_alike: number;
  /** In workgroup memory: words that the busiest bank must deliver per request. */
  bank_ways?: number;
  bank_model?: string;
  traced?: Traced;
}

/** What a run on the CPU counted at an access. */
export interface Traced {
  requests: number;
  active_lanes: number | null;
  blocks32: number | null;
  blocks64: number | null;
  blocks128: number | null;
  blocks32_if_aligned: number | null;
  blocks64_if_aligned: number | null;
  blocks128_if_aligned: number | null;
  useful_bytes: number | null;
  /** Whether the static count is the same; null where it does not claim to be exact. */
  agrees: boolean | null;
}

export interface Label {
  file: string;
  line: number;
  column: number;
  length: number;
  message: string;
  primary: boolean;
}

export interface Finding {
  code: string;
  severity: "info" | "warning" | "error";
  confidence: Site["confidence"];
  message: string;
  kernel: string;
  kernel_file: string;
  labels: Label[];
  notes: string[];
  wasted_bytes: number | null;
}

export interface KernelBytes {
  asked_bytes: number;
  useful_bytes: number;
  fetched_bytes: number;
  uncounted: number;
}

export interface Kernel {
  file: string;
  name: string;
  analysed: boolean;
  /** Why it was not analysed. */
  reason: string | null;
  line?: number;
  workgroup_size: [number, number, number] | null;
  workgroup_size_assumed: boolean;
  accesses: number;
  classified: number;
  unknown: number;
  per_workgroup: KernelBytes | null;
  per_dispatch: KernelBytes | null;
}

export interface Report {
  schema: 1;
  findings: Finding[];
  sites: Site[];
  kernels: Kernel[];
}

export interface Inspected {
  report: Report;
  /** By site: lane of the workgroup and byte offset, for one request with the most active lanes. */
  requests: [lane: number, offset: number][][];
  /** By site: the text of the access. */
  texts: string[];
  /** Names that `set` can give values. */
  parameters: string[];
  /** Names in `set` that nothing has. */
  unused: string[];
  /** Bytes of a block of the target. */
  block_bytes: number;
  /** Why there is no trace though `buffers` were given. */
  trace_error: string | null;
}

/** Where included files lie: without it a text that includes others is not analysed. */
export interface Folders {
  /** The text of a file; undefined where there is none. */
  read(path: string): string | undefined;
  /** The names in a folder, those of folders with a slash behind. */
  list(dir: string): string[];
}

/** Mistakes in what is given are thrown as errors that say how to mend them. */
export interface Marlin {
  version: string;
  audit(source: string, options?: Options, name?: string, folders?: Folders): Report;
  /** As `audit`, as the text that `marlin audit --format json` prints. */
  auditText(source: string, options?: Options, name?: string, folders?: Folders): string;
  /** The audit with what the CPU executor counts beside it. */
  trace(source: string, options: Options, name?: string, folders?: Folders): Report;
  traceText(source: string, options: Options, name?: string, folders?: Folders): string;
  inspect(source: string, options?: Options, name?: string, folders?: Folders): Inspected;
  /** The compute entry points as Metal Shading Language. */
  msl(source: string, options?: Options, name?: string, folders?: Folders): string;
}

export function load(source?: BufferSource | URL | string | Response): Promise<Marlin>;
