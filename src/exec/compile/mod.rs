//! From naga IR to the executor's code.
//!
//! Function calls are inlined (naga forbids recursion), so that pointers are known when compiling:
//! a pointer is a [`Place`], never a value in a register. Values are lists of registers, one per
//! scalar component; composing, swizzling and constant indexing only rearrange the lists.
//!
//! Loading a variable that lives in registers gives those registers themselves. Before they change —
//! at a store to them, and where control flow begins — every expression that still shows them is
//! given a copy; copies that turn out to be unread are removed in [`finish`].

mod expr;
mod finish;
mod math;
mod place;
mod stmt;

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{AddressSpace, BuiltIn, Expression, Function, Handle, Literal, Module, Span, TypeInner};

use super::error::CompileError;
use super::instr::{Global, Instr, MaskIx, Program, Source, Table, Target};
use super::layout::{Elem, Layout, Ty};
use super::regs::{AluFn, File, Slot};
use super::texture::ImageShape;
use super::trace::SiteKey;
use crate::memory::{AccessKind, Space};
use place::Place;

/// Larger workgroups are refused; GPUs allow 1024.
const MAX_INVOCATIONS: u64 = 1 << 16;

/// Code longer than this is refused: inlining can grow exponentially.
const MAX_INSTRUCTIONS: usize = 1 << 20;

/// Registers in the tables of values that are indexed dynamically: more are refused.
const MAX_TABLE_ENTRIES: usize = 1 << 22;

/// More registers than this are refused.
const MAX_REGISTERS: usize = 1 << 20;

type Result<T> = std::result::Result<T, CompileError>;

/// Values that differ between invocations from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Builtin {
    GlobalInvocationId(u8),
    LocalInvocationId(u8),
    LocalInvocationIndex,
    WorkgroupId(u8),
    NumWorkgroups(u8),
    WorkgroupSize(u8),
    NumSubgroups,
    SubgroupId,
    SubgroupSize,
    SubgroupInvocationId,
}

/// What an expression stands for.
#[derive(Clone)]
enum Value {
    Slots(Rc<[Slot]>),
    Place(Rc<Place>),
    /// A texture or sampler.
    Opaque(Handle<naga::GlobalVariable>),
}

/// A variable that lives in registers.
struct Variable {
    slots: Rc<[Slot]>,
    /// The table of its registers, made when it is first indexed dynamically.
    table: std::cell::OnceCell<u32>,
    name: String,
}

/// The function being inlined.
struct Frame<'m> {
    function: &'m Function,
    info: &'m FunctionInfo,
    values: Vec<Option<Value>>,
    arguments: Vec<Value>,
    locals: Vec<Rc<Variable>>,
    result: Rc<[Slot]>,
    returns: MaskIx,
    /// The construct that `break` leaves, and the loop that `continue` does.
    breaks: Option<MaskIx>,
    continues: Option<MaskIx>,
    /// Expressions whose value may show a variable's registers, in the order of their evaluation.
    shows_variables: Vec<Handle<Expression>>,
    /// Where to go when no lane is active.
    skip: Target,
    span: Span,
}

struct Compiler<'m> {
    module: &'m Module,
    info: &'m ModuleInfo,
    layout: Layout<'m>,
    code: Vec<Instr>,
    spans: Vec<Span>,
    span: Span,
    /// Positions of labels.
    labels: Vec<u32>,
    n_slots: [u32; 3],
    /// Registers whose contents must survive a stretch of code, whatever mentions them: (slot, from, to).
    pinned: Vec<(Slot, u32, u32)>,
    /// Registers of variables, as opposed to values that never change.
    is_variable: [Vec<bool>; 3],
    loops: Vec<(u32, u32)>,
    constants: HashMap<(File, u64), Slot>,
    builtins: HashMap<Builtin, Slot>,
    tables: Vec<Table>,
    table_entries: usize,
    globals: Vec<Global>,
    global_ix: HashMap<Handle<naga::GlobalVariable>, u32>,
    private: HashMap<Handle<naga::GlobalVariable>, Rc<Variable>>,
    sites: Vec<SiteKey>,
    site_ix: HashMap<SiteIdentity, u32>,
    mask_depth: u32,
    max_mask_depth: u32,
    call_depth: u32,
}

/// What makes two accesses one site: source, kind, global, bytes.
type SiteIdentity = (Option<Range<usize>>, AccessKind, u32, u32);

/// Compiles an entry point of a module without overrides.
pub(super) fn compile(module: &Module, info: &ModuleInfo, entry_ix: usize) -> Result<Program> {
    let mut compiler = Compiler {
        module,
        info,
        layout: Layout::new(module),
        code: Vec::new(),
        spans: Vec::new(),
        span: Span::default(),
        labels: Vec::new(),
        n_slots: [0; 3],
        pinned: Vec::new(),
        is_variable: Default::default(),
        loops: Vec::new(),
        constants: HashMap::new(),
        builtins: HashMap::new(),
        tables: Vec::new(),
        table_entries: 0,
        globals: Vec::new(),
        global_ix: HashMap::new(),
        private: HashMap::new(),
        sites: Vec::new(),
        site_ix: HashMap::new(),
        mask_depth: 0,
        max_mask_depth: 0,
        call_depth: 0,
    };
    compiler.entry(entry_ix)?;
    finish::finish(compiler, entry_ix)
}

impl<'m> Compiler<'m> {
    fn unsupported<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(CompileError::Unsupported { what: what.into(), span: self.span })
    }

    fn too_large<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(CompileError::TooLarge { what: what.into(), span: self.span })
    }

    fn emit(&mut self, instr: Instr) -> Result<()> {
        if self.code.len() >= MAX_INSTRUCTIONS {
            return self.too_large("more than a million instructions after inlining");
        }
        self.code.push(instr);
        self.spans.push(self.span);
        Ok(())
    }

    fn here(&self) -> u32 {
        self.code.len() as u32
    }

    fn new_label(&mut self) -> Target {
        self.labels.push(u32::MAX);
        self.labels.len() as Target - 1
    }

    fn place_label(&mut self, label: Target) {
        self.labels[label as usize] = self.here();
    }

    fn new_slot(&mut self, file: File) -> Result<Slot> {
        let n = &mut self.n_slots[file as usize];
        if *n as usize >= 8 * MAX_REGISTERS {
            return self.too_large("too many values");
        }
        *n += 1;
        self.is_variable[file as usize].push(false);
        Ok(Slot::new(file, *n - 1))
    }

    /// A register with the same bits in every lane, for the whole run.
    fn constant_bits(&mut self, file: File, bits: u64) -> Result<Slot> {
        if let Some(&slot) = self.constants.get(&(file, bits)) {
            return Ok(slot);
        }
        let slot = self.new_slot(file)?;
        self.constants.insert((file, bits), slot);
        Ok(slot)
    }

    fn constant_u32(&mut self, value: u32) -> Result<Slot> {
        self.constant_bits(File::Narrow, u64::from(value))
    }

    fn zero(&mut self, elem: Elem) -> Result<Slot> {
        self.constant_bits(elem.file(), 0)
    }

    fn builtin(&mut self, builtin: Builtin) -> Result<Slot> {
        if let Some(&slot) = self.builtins.get(&builtin) {
            return Ok(slot);
        }
        let slot = self.new_slot(File::Narrow)?;
        self.builtins.insert(builtin, slot);
        Ok(slot)
    }

    /// Emits an operation whose result has type `elem`. Absent from the tables means unsupported.
    fn alu(&mut self, f: Option<AluFn>, elem: Elem, sources: &[Slot], what: &str) -> Result<Slot> {
        let Some(f) = f else { return self.unsupported(what) };
        let dst = self.new_slot(elem.file())?;
        let source = |i: usize| sources.get(i).or(sources.first()).copied().unwrap_or(dst);
        self.emit(Instr::Alu { f, o: [dst, source(0), source(1), source(2)] })?;
        Ok(dst)
    }

    /// A mask slot for the construct being compiled; given back by restoring `mask_depth`.
    fn new_masks(&mut self, n: u32) -> MaskIx {
        let first = self.mask_depth;
        self.mask_depth += n;
        self.max_mask_depth = self.max_mask_depth.max(self.mask_depth);
        first
    }

    fn literal(&mut self, literal: Literal) -> Result<Slot> {
        let (file, bits) = match literal {
            Literal::F64(v) => (File::Wide, v.to_bits()),
            Literal::F32(v) => (File::Narrow, u64::from(v.to_bits())),
            Literal::F16(v) => (File::Narrow, u64::from(v.to_f32().to_bits())),
            Literal::U16(v) => (File::Narrow, u64::from(v)),
            Literal::I16(v) => (File::Narrow, u64::from(i32::from(v) as u32)),
            Literal::U32(v) => (File::Narrow, u64::from(v)),
            Literal::I32(v) => (File::Narrow, u64::from(v as u32)),
            Literal::U64(v) => (File::Wide, v),
            Literal::I64(v) => (File::Wide, v as u64),
            Literal::Bool(v) => (File::Narrow, u64::from(v)),
            Literal::AbstractInt(_) | Literal::AbstractFloat(_) => {
                return self.unsupported("a literal of abstract type");
            }
        };
        self.constant_bits(file, bits)
    }

    fn zero_value(&mut self, ty: Ty) -> Result<Rc<[Slot]>> {
        let Some(components) = self.layout.components(ty) else {
            return self.unsupported_type(ty);
        };
        components.iter().map(|c| self.zero(c.elem)).collect()
    }

    /// Says why values of the type can't be held.
    fn unsupported_type<T>(&self, ty: Ty) -> Result<T> {
        if let Ty::Handle(h) = ty
            && matches!(self.module.types[h].inner, TypeInner::Array { .. } | TypeInner::Struct { .. })
        {
            return self.too_large("a value with more than 65536 components, or of a type without values");
        }
        self.unsupported(format!("values of type {ty:?}"))
    }

    /// A constant expression at module scope.
    fn global_expression(&mut self, h: Handle<Expression>) -> Result<Rc<[Slot]>> {
        let module = self.module;
        Ok(match module.global_expressions[h] {
            Expression::Literal(literal) => Rc::new([self.literal(literal)?]),
            Expression::Constant(c) => self.global_expression(module.constants[c].init)?,
            Expression::ZeroValue(ty) => self.zero_value(Ty::Handle(ty))?,
            Expression::Compose { ref components, .. } => {
                let mut slots = Vec::new();
                for &c in components {
                    slots.extend_from_slice(&self.global_expression(c)?);
                }
                slots.into()
            }
            Expression::Splat { size, value } => {
                let slot = self.global_expression(value)?[0];
                std::iter::repeat_n(slot, size as usize).collect()
            }
            ref other => return self.unsupported(format!("{other:?} at module scope")),
        })
    }

    /// Registers for a variable of the type, set to the initial value here.
    fn new_variable(&mut self, ty: Ty, init: Option<Rc<[Slot]>>, name: &str) -> Result<Rc<Variable>> {
        let init = match init {
            Some(init) => init,
            None => self.zero_value(ty)?,
        };
        let mut slots = Vec::with_capacity(init.len());
        for &src in init.iter() {
            let slot = self.new_slot(src.file())?;
            self.is_variable[slot.file() as usize][slot.index()] = true;
            self.emit(Instr::Copy { dst: slot, src })?;
            slots.push(slot);
        }
        Ok(Rc::new(Variable {
            slots: slots.into(),
            table: std::cell::OnceCell::new(),
            name: name.to_owned(),
        }))
    }

    /// Keeps a variable's registers from being used for anything else between two positions.
    fn pin(&mut self, slots: &[Slot], from: u32, to: u32) {
        self.pinned.extend(slots.iter().map(|&s| (s, from, to)));
    }

    fn entry(&mut self, entry_ix: usize) -> Result<()> {
        let module = self.module;
        let entry = &module.entry_points[entry_ix];
        let info = self.info.get_entry_point(entry_ix);
        let invocations = entry.workgroup_size.iter().map(|&n| u64::from(n)).product::<u64>();
        if invocations > MAX_INVOCATIONS {
            return self.too_large(format!("a workgroup of {invocations} invocations"));
        }
        for (h, global) in module.global_variables.iter() {
            if global.space == AddressSpace::Private && !info[h].is_empty() {
                self.span = module.global_variables.get_span(h);
                let init = global.init.map(|init| self.global_expression(init)).transpose()?;
                let name = global.name.as_deref().unwrap_or("private");
                let variable = self.new_variable(Ty::Handle(global.ty), init, name)?;
                self.pin(&variable.slots, 0, u32::MAX);
                self.private.insert(h, variable);
            }
        }
        let mut arguments = Vec::new();
        for argument in &entry.function.arguments {
            arguments.push(Value::Slots(self.entry_argument(argument)?));
        }
        let end = self.new_label();
        self.inline(&entry.function, info, arguments, end)?;
        self.place_label(end);
        self.emit(Instr::End)
    }

    fn entry_argument(&mut self, argument: &naga::FunctionArgument) -> Result<Rc<[Slot]>> {
        let module = self.module;
        if let Some(binding) = &argument.binding {
            return self.builtin_slots(binding, argument.ty);
        }
        let TypeInner::Struct { ref members, .. } = module.types[argument.ty].inner else {
            return self.unsupported("an entry point argument without a binding");
        };
        let mut slots = Vec::new();
        for member in members {
            let Some(binding) = &member.binding else {
                return self.unsupported("an entry point argument without a binding");
            };
            slots.extend_from_slice(&self.builtin_slots(binding, member.ty)?);
        }
        Ok(slots.into())
    }

    fn builtin_slots(&mut self, binding: &naga::Binding, ty: Handle<naga::Type>) -> Result<Rc<[Slot]>> {
        let naga::Binding::BuiltIn(builtin) = binding else {
            return self.unsupported("an entry point argument with a location");
        };
        let vector: Option<fn(u8) -> Builtin> = match builtin {
            BuiltIn::GlobalInvocationId => Some(Builtin::GlobalInvocationId),
            BuiltIn::LocalInvocationId => Some(Builtin::LocalInvocationId),
            BuiltIn::WorkGroupId => Some(Builtin::WorkgroupId),
            BuiltIn::NumWorkGroups => Some(Builtin::NumWorkgroups),
            BuiltIn::WorkGroupSize => Some(Builtin::WorkgroupSize),
            _ => None,
        };
        if let Some(vector) = vector {
            let n = self.layout.n_components(Ty::Handle(ty)).unwrap_or(3).min(3);
            return (0..n as u8).map(|i| self.builtin(vector(i))).collect();
        }
        let scalar = match builtin {
            BuiltIn::LocalInvocationIndex => Builtin::LocalInvocationIndex,
            BuiltIn::NumSubgroups => Builtin::NumSubgroups,
            BuiltIn::SubgroupId => Builtin::SubgroupId,
            BuiltIn::SubgroupSize => Builtin::SubgroupSize,
            BuiltIn::SubgroupInvocationId => Builtin::SubgroupInvocationId,
            other => return self.unsupported(format!("built-in value {other:?}")),
        };
        Ok(Rc::new([self.builtin(scalar)?]))
    }

    /// The memory or texture of a global variable.
    fn global(&mut self, h: Handle<naga::GlobalVariable>) -> Result<u32> {
        if let Some(&ix) = self.global_ix.get(&h) {
            return Ok(ix);
        }
        let module = self.module;
        let variable = &module.global_variables[h];
        let (space, writable) = match variable.space {
            AddressSpace::WorkGroup => (Space::Workgroup, true),
            AddressSpace::Uniform | AddressSpace::Immediate => (Space::Uniform, false),
            AddressSpace::Storage { access } => (Space::Storage, access.contains(naga::StorageAccess::STORE)),
            AddressSpace::Handle => (Space::Texture, true),
            other => return self.unsupported(format!("address space {other:?}")),
        };
        let source = match (variable.space, variable.binding) {
            (AddressSpace::WorkGroup, _) => Source::Workgroup,
            (AddressSpace::Immediate, _) => Source::Immediates,
            (_, Some(b)) => Source::Binding { group: b.group, binding: b.binding },
            _ => return self.unsupported("a resource without a binding"),
        };
        let inner = &module.types[variable.ty].inner;
        let image = match *inner {
            TypeInner::Image { dim, arrayed, class } => match ImageShape::of(dim, arrayed, class) {
                Some(shape) => Some(shape),
                None => return self.unsupported(format!("textures of kind {dim:?} {class:?}")),
            },
            TypeInner::Sampler { .. } => return self.unsupported("samplers"),
            TypeInner::BindingArray { .. } => return self.unsupported("binding arrays"),
            TypeInner::AccelerationStructure { .. } => return self.unsupported("acceleration structures"),
            _ => None,
        };
        let name = variable.name.clone().unwrap_or_else(|| format!("global{}", h.index()));
        self.globals.push(Global {
            name,
            source,
            space,
            writable,
            size_bytes: if image.is_some() { 0 } else { self.layout.min_size_bytes(variable.ty) },
            runtime_array: self.layout.runtime_array(variable.ty),
            granularity: self.layout.smallest_scalar(variable.ty),
            image,
        });
        self.global_ix.insert(h, self.globals.len() as u32 - 1);
        Ok(self.globals.len() as u32 - 1)
    }

    fn site(&mut self, kind: AccessKind, global: u32, bytes_per_lane: u32) -> u32 {
        let key = SiteKey { span: self.span, kind, global, bytes_per_lane };
        *self.site_ix.entry((self.span.to_range(), kind, global, bytes_per_lane)).or_insert_with(|| {
            self.sites.push(key);
            self.sites.len() as u32 - 1
        })
    }
}
