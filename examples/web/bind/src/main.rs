//! `marlin-web-bind IN.wasm OUT_DIR`: writes the module and the JavaScript that calls it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir] = args.as_slice() else {
        eprintln!("usage: marlin-web-bind IN.wasm OUT_DIR");
        return ExitCode::from(2);
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    // After a trap a new instance takes the place of the old one.
    bindgen.input_path(input).typescript(true).omit_default_module_path(false).reset_state_function(true);
    let done = bindgen.web(true).and_then(|b| b.generate(out_dir));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{input}: {e:#}");
            ExitCode::FAILURE
        }
    }
}
