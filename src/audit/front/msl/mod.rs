//! Sites from LLVM IR, for Metal: SSA values as values of the lane algebra, control flow as conditions.
//!
//! The conventions of the text are those of the `metal` stage. Each block has a condition under which lanes
//! reach it: the sum over its incoming edges, which exclude one another.

mod call;
mod cfg;
mod instr;
mod ir;
mod loops;
pub(in crate::audit) mod names;
mod parse;
mod private;
mod region;
mod unroll;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::audit::front::walk::Walk;
use crate::audit::lanes::Value;
use crate::audit::settings::Settings;
use crate::audit::site::{RawSite, Record, Walked};
use crate::memory::Space;
use crate::metal::{Ir, Param};
use cfg::Cfg;
use ir::{Function, Module, Name};
use names::Names;

/// Instructions walked before a kernel is given up.
const MOST_STEPS: usize = 400_000;
/// Terms that the algebra handles before a kernel is given up.
const MOST_WORK: u64 = 12_000_000;

/// What a value is known to be.
#[derive(Clone, Debug, PartialEq)]
enum Val {
    Int(Value),
    Pointer(Pointer),
    Vector(Rc<Vec<Val>>),
    /// Something else; `Some(why)` if it differs between lanes.
    Other(Option<Rc<str>>),
}

#[derive(Clone, Debug, PartialEq)]
enum Base {
    /// A parameter.
    Buffer(usize),
    /// Threadgroup memory, by name.
    Group(Rc<str>),
    /// Memory of one thread: the variable.
    Private(Name),
    /// All lanes' values.
    Exchange,
    Texture,
    /// One of several, each under its condition.
    Either(Rc<Vec<(Value, Pointer)>>),
    /// A constant table of the program.
    Table,
    /// A function constant, by name.
    Constant(Rc<str>),
    /// Whether a function constant is given a value.
    Defined(Rc<str>),
    Unknown(Option<Rc<str>>),
}

#[derive(Clone, Debug, PartialEq)]
struct Pointer {
    base: Base,
    offset: Value,
    record: Option<Record>,
    /// The bytes of the array that it points into, as far as the address computation names one.
    within: Option<(i64, i64)>,
}

struct Walker<'a> {
    module: &'a Module,
    function: &'a Function,
    params: Vec<&'a Param>,
    names: &'a Names,
    ir: &'a Ir,
    cfg: &'a Cfg,
    walk: Walk<'a>,
    /// By name.
    values: Vec<Option<Val>>,
    loaded: HashMap<(usize, Value, String), Val>,
    /// Names that are used in another loop than the one that defines them.
    escaping: HashSet<Name>,
    work: usize,
    last_place: u32,
    private: private::Private,
    /// Debug locations in the user's text.
    places: HashMap<u32, bool>,
    /// By loop, what looking at it found to differ between lanes.
    varying: HashMap<usize, HashMap<usize, Rc<str>>>,
    /// Atoms made where the length of a loop was assumed, and what to say of it.
    assumed: Vec<(std::ops::Range<usize>, String)>,
}

/// Threads of a threadgroup where the text sets no bound.
const USUAL_THREADS: u32 = 256;

/// The size of threadgroups that a host is taken to choose: as many threads as the text allows, else 256, in rows of a
/// simdgroup where the kernel looks at y.
fn usual_workgroup(function: &Function, most: Option<u32>) -> [u32; 3] {
    let threads = most.filter(|n| (1..=1024).contains(n)).unwrap_or(USUAL_THREADS);
    let mut used = [false; 3];
    for block in &function.blocks {
        for i in &block.code {
            if let ir::Op::Call(name, _, args) = &i.op {
                let position =
                    name.starts_with("marlin_thread_position") || name == "marlin_threads_per_threadgroup";
                if let (true, Some((_, ir::Operand::Int(d)))) = (position, args.first()) {
                    used[(*d).clamp(0, 2) as usize] = true;
                }
            }
        }
    }
    let rows = threads / 32;
    if used[2] && rows >= 4 && rows.is_multiple_of(2) {
        [32, rows / 2, 2]
    } else if (used[1] || used[2]) && rows >= 2 {
        [32, rows, 1]
    } else {
        [threads, 1, 1]
    }
}

/// Reads a module once, for [`walk`] of each of its kernels.
pub(in crate::audit) fn read(text: &str) -> ir::Module {
    Module::parse(text)
}

/// Walks kernel number `n`.
pub(in crate::audit) fn walk(
    module: &Module,
    ir: &Ir,
    n: usize,
    names: &Names,
    settings: &Settings,
) -> Result<Walked, String> {
    let name = ir.kernels.get(n).map(|k| k.name.clone()).unwrap_or_default();
    let function = module
        .functions
        .get(&crate::metal::symbol(n))
        .ok_or_else(|| "the kernel is not in the compiled module".to_string())?;
    let cfg = Cfg::new(function).ok_or_else(|| "its control flow is not made of plain loops".to_string())?;
    let most = ir.kernels.get(n).and_then(|k| k.max_threads);
    let workgroup = settings.workgroup_size.unwrap_or_else(|| usual_workgroup(function, most));
    let mut state = Walk::new(settings, workgroup, "threadgroup_position")
        .map_err(|total| format!("a threadgroup of {total} threads"))?;
    state.workgroup_assumed = settings.workgroup_size.is_none();
    let mut w = Walker {
        module,
        function,
        params: ir.buffer_params(n).collect(),
        names,
        ir,
        cfg: &cfg,
        walk: state,
        values: vec![None; function.names.len()],
        loaded: HashMap::new(),
        escaping: HashSet::new(),
        work: 0,
        last_place: 0,
        private: Default::default(),
        places: HashMap::new(),
        varying: HashMap::new(),
        assumed: Vec::new(),
    };
    for (i, p) in function.params.iter().enumerate() {
        let pointer = Pointer { base: Base::Buffer(i), offset: Value::int(0), record: None, within: None };
        w.values[*p as usize] = Some(Val::Pointer(pointer));
    }
    w.find_escaping();
    w.region(None)?;
    RawSite::join_parts(&mut w.walk.sites);
    Ok(w.walk.finish(name))
}

impl Walker<'_> {
    fn why(&self, v: &Val) -> Option<Rc<str>> {
        match v {
            Val::Int(v) => self.walk.why(v),
            Val::Pointer(p) => self.walk.why(&p.offset),
            Val::Vector(c) => c.iter().find_map(|v| self.why(v)),
            Val::Other(why) => why.clone(),
        }
    }

    fn space_of(&self, p: &Param) -> Space {
        match p.space {
            crate::metal::Space::Constant => Space::Uniform,
            _ => Space::Storage,
        }
    }
}
