//! Sites from LLVM IR, for Metal: SSA values as values of the lane algebra, control flow as conditions.
//!
//! The conventions of the text are those of the `metal` stage. Each block has a condition under which lanes
//! reach it: the sum over its incoming edges, which exclude one another.

mod cfg;
mod instr;
mod ir;
mod loops;
mod parse;
mod private;
mod region;
mod unroll;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::audit::lanes::{Algebra, AtomId, Lanes, Symbol, SymbolKind, Value};
use crate::audit::settings::Settings;
use crate::audit::site::{RawSite, Record, Walked};
use crate::memory::Space;
use crate::metal::{Ir, Param};
use cfg::Cfg;
use ir::{Function, Module, Name};

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
    ir: &'a Ir,
    cfg: &'a Cfg,
    settings: &'a Settings,
    alg: Algebra,
    /// By name.
    values: Vec<Option<Val>>,
    sites: Vec<RawSite>,
    guards: HashMap<AtomId, Vec<Value>>,
    workgroup: [u32; 3],
    group_ids: [Value; 3],
    conditions: Vec<Value>,
    enclosing: Vec<AtomId>,
    parameters: HashMap<String, Value>,
    loaded: HashMap<(usize, Value, String), Val>,
    /// Names that are used in another loop than the one that defines them.
    escaping: HashSet<Name>,
    depth: usize,
    quiet: u32,
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

/// The size of threadgroups that a host is taken to choose: 256 threads, in rows of a simdgroup where the kernel
/// looks at y.
fn usual_workgroup(function: &Function) -> [u32; 3] {
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
    if used[2] {
        [32, 4, 2]
    } else if used[1] {
        [32, 8, 1]
    } else {
        [256, 1, 1]
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
    settings: &Settings,
) -> Result<Walked, String> {
    let name = ir.kernels.get(n).map(|k| k.name.clone()).unwrap_or_default();
    let function = module
        .functions
        .get(&crate::metal::symbol(n))
        .ok_or_else(|| "the kernel is not in the compiled module".to_string())?;
    let cfg = Cfg::new(function).ok_or_else(|| "its control flow is not made of plain loops".to_string())?;
    let workgroup = settings.workgroup_size.unwrap_or_else(|| usual_workgroup(function));
    let total = workgroup.iter().map(|&x| x as usize).product::<usize>();
    if total == 0 || total > 4096 {
        return Err(format!("a threadgroup of {total} threads"));
    }
    let mut alg = Algebra::new(total, settings.subgroup_size as usize);
    let group_ids = std::array::from_fn(|axis| {
        let count = settings.workgroups.map(|n| u64::from(n[axis]));
        if count == Some(1) {
            return Value::int(0);
        }
        let name = format!("threadgroup_position.{}", ["x", "y", "z"][axis]);
        alg.symbol(Symbol { name, kind: SymbolKind::WorkgroupId(axis as u8), count })
    });
    let enclosing = group_ids.iter().filter_map(Value::as_atom).collect();
    let mut w = Walker {
        module,
        function,
        params: ir.buffer_params(n).collect(),
        ir,
        cfg: &cfg,
        settings,
        alg,
        values: vec![None; function.names.len()],
        sites: Vec::new(),
        guards: HashMap::new(),
        workgroup,
        group_ids,
        conditions: Vec::new(),
        enclosing,
        parameters: HashMap::new(),
        loaded: HashMap::new(),
        escaping: HashSet::new(),
        depth: 0,
        quiet: 0,
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
    let Walker { alg, sites, guards, .. } = w;
    Ok(Walked { name, algebra: alg, sites, guards, memo: Default::default(), spent: Default::default() })
}

impl Walker<'_> {
    fn lanes(&self, f: impl Fn(i64) -> i64) -> Value {
        Value::lanes(Lanes::new((0..self.alg.lanes() as i64).map(f).collect()))
    }

    fn parameter(&mut self, name: &str) -> Value {
        if let Some(v) = self.settings.value_of(name) {
            return Value::int(v);
        }
        if let Some(v) = self.parameters.get(name) {
            return v.clone();
        }
        let v = self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Param, count: None });
        self.parameters.insert(name.into(), v.clone());
        v
    }

    fn fresh(&mut self, name: &str) -> Value {
        self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Loaded, count: None })
    }

    fn flag(&mut self, name: &str) -> Value {
        self.alg.symbol(Symbol { name: name.into(), kind: SymbolKind::Flag, count: None })
    }

    fn why(&self, v: &Val) -> Option<Rc<str>> {
        match v {
            Val::Int(v) => self.why_int(v),
            Val::Pointer(p) => self.why_int(&p.offset),
            Val::Vector(c) => c.iter().find_map(|v| self.why(v)),
            Val::Other(why) => why.clone(),
        }
    }

    fn why_int(&self, v: &Value) -> Option<Rc<str>> {
        self.alg
            .data_in(v)
            .or_else(|| self.alg.varies(v).then(|| "a value computed from the lane's index".into()))
    }

    fn space_of(&self, p: &Param) -> Space {
        match p.space {
            crate::metal::Space::Constant => Space::Uniform,
            _ => Space::Storage,
        }
    }
}
