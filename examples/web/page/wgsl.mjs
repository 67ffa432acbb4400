// WGSL for the editor: words, numbers, comments, attributes and the preprocessor's lines.
import { StreamLanguage } from "@codemirror/language";

const words = (text) => new Set(text.split(" "));
const KEYWORDS = words(
  "alias break case const const_assert continue continuing default diagnostic discard else enable fn for if let loop override requires return struct switch var while",
);
const TYPES = words(
  "array atomic bool f16 f32 i32 u32 mat2x2 mat2x3 mat2x4 mat3x2 mat3x3 mat3x4 mat4x2 mat4x3 mat4x4 ptr sampler vec2 vec3 vec4 vec2f vec3f vec4f vec2h vec3h vec4h vec2i vec3i vec4i vec2u vec3u vec4u",
);
const SPACES = words("function private workgroup uniform storage read write read_write");

export const wgsl = StreamLanguage.define({
  name: "wgsl",
  startState: () => ({ depth: 0 }),
  token(stream, state) {
    if (state.depth > 0 || stream.match("/*")) {
      state.depth ||= 1;
      while (!stream.eol() && state.depth > 0) {
        if (stream.match("/*")) state.depth++;
        else if (stream.match("*/")) state.depth--;
        else stream.next();
      }
      return "comment";
    }
    if (stream.eatSpace()) return null;
    if (stream.match("//")) {
      stream.skipToEnd();
      return "comment";
    }
    if (stream.sol() && stream.match(/#\s*\w+.*/)) return "meta";
    if (stream.match(/@\w+/)) return "attributeName";
    if (stream.match(/0x[0-9a-fA-F]+[iu]?|\d*\.?\d+([eE][+-]?\d+)?[iufh]?/)) return "number";
    const word = stream.match(/[A-Za-z_]\w*/);
    if (word) {
      if (KEYWORDS.has(word[0])) return "keyword";
      if (TYPES.has(word[0])) return "typeName";
      if (SPACES.has(word[0])) return "modifier";
      return word[0] === "true" || word[0] === "false" ? "bool" : "variableName";
    }
    stream.next();
    return null;
  },
  languageData: { commentTokens: { line: "//", block: { open: "/*", close: "*/" } } },
});
