//! The check of Metal text: what it accepts, and that what it refuses is refused at the user's line.

use super::{clang, shown};
use wgpu_marlin::metal::{Binding, Source, Space, check, ir, llvm_ir};

const HEADER: &str = "#include <metal_stdlib>\nusing namespace metal;\n";

fn source(body: &str) -> Source {
    Source::new("user.metal", format!("{HEADER}{body}"))
}

#[test]
fn a_kernel_is_accepted_and_described() {
    let Some(clang) = clang("a_kernel_is_accepted_and_described") else { return };
    let text = "
template <typename T>
kernel void scale(device T* out [[buffer(1)]], const device T* in [[buffer(0)]], constant float& by,
                  threadgroup T* scratch [[threadgroup(0)]], uint2 at [[thread_position_in_grid]]) {
  out[at.x] = in[at.x] * T(by) + scratch[at.y];
}
template [[host_name(\"scale_\" \"half\")]] kernel void scale<half>(device half*, const device half*, constant float&,
                                                             threadgroup half*, uint2);
typedef decltype(scale<float>) scale_t;
template [[host_name(\"scale_float\")]] [[kernel]] scale_t scale<float>;
";
    let checked = check(&clang, &source(text)).unwrap_or_else(|e| panic!("{}", shown(&e)));
    let names: Vec<_> = checked.kernels.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["scale_half", "scale_float"]);
    for kernel in &checked.kernels {
        let bindings: Vec<_> = kernel.params.iter().map(|p| &p.binding).collect();
        assert_eq!(*bindings[0], Binding::Buffer { slot: 1 });
        assert_eq!(*bindings[1], Binding::Buffer { slot: 0 });
        assert_eq!(*bindings[2], Binding::Buffer { slot: 2 }, "the lowest free slot");
        assert_eq!(*bindings[3], Binding::Threadgroup { index: 0 });
        assert_eq!(*bindings[4], Binding::BuiltIn("thread_position_in_grid".into()));
        assert_eq!(kernel.params[2].space, Space::Constant);
        assert!(kernel.params[2].by_reference);
    }
    assert_eq!(checked.kernels[0].line, 9);
}

/// Each row: what is wrong, the text after the header, the line, a part of the message.
const REFUSED: &[(&str, &str, u32, &str)] = &[
    ("an unknown name", "kernel void k(device float* a) {\n  a[0] = b;\n}", 4, "undeclared identifier 'b'"),
    (
        "a wrong type inside a function of the shim",
        "struct S { int x; };\nkernel void k(device S* a) {\n  a[0] = simd_sum(a[1]);\n}",
        5,
        "",
    ),
    (
        "40 KB of threadgroup memory",
        "kernel void k(device float* a, uint i [[thread_index_in_threadgroup]]) {\n  threadgroup float tile[10240];\n  tile[i] = 1;\n  a[i] = tile[i];\n}",
        4,
        "32768 bytes of threadgroup memory",
    ),
    (
        "40 KB in two variables",
        "kernel void k(device float* a, uint i [[thread_index_in_threadgroup]]) {\n  threadgroup float x[5120];\n  threadgroup float y[5120];\n  x[i] = y[i];\n  a[i] = x[i];\n}",
        5,
        "32768 bytes of threadgroup memory",
    ),
    (
        "a parameter with no binding",
        "\nkernel void k(device float* a, uint n) {\n  a[n] = 0;\n}",
        4,
        "no binding",
    ),
    (
        "a wrong address space",
        "kernel void k(device float* a, threadgroup float* t) {\n  device float* b = t;\n  b[0] = a[0];\n}",
        4,
        "device float",
    ),
    (
        "a wrong address space in a call",
        "void f(threadgroup float* t) { t[0] = 1; }\nkernel void k(device float* a) {\n  f(a);\n}",
        5,
        "no matching function",
    ),
    ("a double", "kernel void k(device float* a) {\n  double x = a[0];\n  a[0] = x;\n}", 4, "64-bit floats"),
    ("a new", "kernel void k(device float* a) {\n  a[0] = *new float(1);\n}", 4, "allocation"),
    ("a goto", "kernel void k(device float* a) {\nagain:\n  goto again;\n}", 5, "goto"),
    (
        "a virtual function",
        "struct S {\n  virtual void f();\n};\nkernel void k(device float* a) {}",
        4,
        "virtual",
    ),
    ("a throw", "kernel void k(device float* a) {\n  throw 1;\n}", 4, "exceptions"),
    (
        "recursion",
        "float g(float x);\nfloat f(float x) { return x < 1 ? x : g(x); }\nfloat g(float x) { return f(x - 1); }\nkernel void k(device float* a) { a[0] = f(a[0]); }",
        4,
        "recursion",
    ),
    (
        "an implicit conversion between vectors",
        "kernel void k(device half4* a, device float4* b) {\n  a[0] = b[0];\n}",
        4,
        "",
    ),
];

#[test]
fn faults_are_refused_at_the_users_line() {
    let Some(clang) = clang("faults_are_refused_at_the_users_line") else { return };
    for (what, text, line, message) in REFUSED {
        let Err(list) = check(&clang, &source(text)) else { panic!("{what} was accepted") };
        let first = &list[0];
        assert!(first.message.contains(message), "{what}: {}", shown(&list));
        assert_eq!((first.file.as_str(), first.line), ("user.metal", *line), "{what}: {}", shown(&list));
        let all = shown(&list);
        assert!(!all.contains("shim-") && !all.contains("marlin:entry"), "{what}: {all}");
    }
}

#[test]
fn what_differs_only_by_address_space_is_no_redefinition() {
    let Some(clang) = clang("what_differs_only_by_address_space_is_no_redefinition") else { return };
    let text = "
struct S {
  float x;
  float get() const device { return x; }
  float get() const constant { return x; }
  float get() const thread { return x; }
};
float first(device const float* p) { return p[0]; }
float first(constant float* p) { return p[0]; }
float first(threadgroup const float* p) { return p[0]; }
template <typename T> struct of;
template <typename T> struct of<device T*> { typedef T type; };
template <typename T> struct of<threadgroup T*> { typedef T type; };
constant bool wide [[function_constant(3)]];
constant float half_of = is_function_constant_defined(wide) && wide ? 0.5 : 0.25h;
kernel void k(device float* a, constant float* b, constant S& s, threadgroup float* t) {
  of<device float*>::type x = first(a) + first(b) + first(t) + s.get();
  a[0] = x * half_of;
}
";
    let checked = check(&clang, &source(text)).unwrap_or_else(|e| panic!("{}", shown(&e)));
    assert_eq!(checked.kernels.len(), 1);
}

#[test]
fn the_ir_follows_its_conventions() {
    let Some(clang) = clang("the_ir_follows_its_conventions") else { return };
    let text = "
kernel void k(device float* out, constant uint& n, uint i [[thread_position_in_grid]],
              ushort l [[thread_index_in_threadgroup]]) {
  threadgroup float tile[32];
  tile[l] = out[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (i < n) out[i] = tile[31 - l];
}
";
    let ir = llvm_ir(&clang, &source(text)).unwrap_or_else(|e| panic!("{}", shown(&e)));
    assert!(ir.text.contains(&format!("define void @{}(ptr", ir::symbol(0))), "{}", ir.text);
    let names: Vec<_> = ir.buffer_params(0).map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["out", "n"]);
    for call in [
        "@marlin_thread_position_in_grid(i32 noundef 0)",
        "@marlin_thread_index_in_threadgroup()",
        "@marlin_threadgroup_variable(i32 noundef 0, i64 noundef 128, i64 noundef 4)",
        "@marlin_threadgroup_barrier(i32 noundef 2,",
    ] {
        assert!(ir.text.contains(call), "{call} is not in\n{}", ir.text);
    }
    assert_eq!(ir.variables[0].name, "tile");
    // The store to `tile` is at its line and column.
    let store = ir.text.lines().find(|l| l.trim_start().starts_with("store float")).expect("a store");
    let id = store.split("!dbg !").nth(1).and_then(|d| d.split(|c: char| !c.is_ascii_digit()).next());
    let place = ir.locations.place(id.and_then(|d| d.parse().ok()).expect("a location")).expect("a place");
    assert_eq!((place.file.as_str(), place.line), ("user.metal", 7));
}

/// Without clang these tests pass and say what they skipped; where it is required they fail.
#[test]
fn a_missing_clang_is_named_and_can_be_a_failure() {
    let test = |require: bool| {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
        command
            .args(["--exact", "metal::check::a_kernel_is_accepted_and_described", "--nocapture"])
            .env("PATH", "");
        if require {
            command.env("MARLIN_CLANG", "require")
        } else {
            command.env_remove("MARLIN_CLANG")
        };
        let output = command.output().expect("runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (passes, said) = test(false);
    assert!(passes, "{said}");
    assert!(said.contains("skipped a_kernel_is_accepted_and_described: needs clang >= 17"), "{said}");
    let (passes, said) = test(true);
    assert!(!passes && said.contains("MARLIN_CLANG=require, but: needs clang >= 17"), "{said}");
}
