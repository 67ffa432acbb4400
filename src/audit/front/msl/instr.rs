//! One instruction at a time.

use std::rc::Rc;

use super::ir::{Instruction, Name, Op as Ir, Operand, Ty};
use super::{Base, Pointer, Val, Walker};
use crate::audit::lanes::{Int, Op, Value};
use crate::audit::site::{Place, RawSite, Record};
use crate::memory::{AccessKind, Space};

/// Most buffers that one pointer may lead to.
const MOST_ALTERNATIVES: usize = 8;

/// Globals of another module: see `metal::ir`.
const CONSTANT_PREFIX: &str = "marlin_constant.";
const DEFINED_PREFIX: &str = "marlin_constant_defined.";

impl Pointer {
    fn is_followed(&self) -> bool {
        !matches!(
            self.base,
            Base::Unknown(_)
                | Base::Private(_)
                | Base::Exchange
                | Base::Table
                | Base::Constant(_)
                | Base::Defined(_)
                | Base::Texture
        )
    }
}

impl Walker<'_> {
    pub(super) fn operand(&mut self, o: &Operand) -> Val {
        match o {
            Operand::Local(name) => self.values[*name as usize].clone().unwrap_or(Val::Other(None)),
            Operand::Global(name) => {
                let constant = name.strip_prefix(CONSTANT_PREFIX).map(Rc::from).map(Base::Constant);
                let defined = name.strip_prefix(DEFINED_PREFIX).map(Rc::from).map(Base::Defined);
                let base = constant.or(defined).unwrap_or(Base::Table);
                Val::Pointer(Pointer { base, offset: Value::int(0), record: None, within: None })
            }
            Operand::Int(v) => Val::Int(Value::int(*v)),
            Operand::Zero => Val::Int(Value::int(0)),
            Operand::Vector(parts) => Val::Vector(Rc::new(parts.iter().map(|p| self.operand(p)).collect())),
            Operand::Other => Val::Other(None),
        }
    }

    fn int(&mut self, o: &Operand) -> Value {
        let v = self.operand(o);
        self.as_int(v)
    }

    pub(super) fn as_int(&mut self, v: Val) -> Value {
        match v {
            Val::Int(v) => v,
            v => match self.why(&v) {
                Some(why) => self.walk.alg.data(&why, true),
                None => self.walk.fresh("a uniform value"),
            },
        }
    }

    /// A condition, 0 or 1.
    pub(super) fn truth(&mut self, o: &Operand) -> Value {
        match self.operand(o) {
            Val::Int(v) => v,
            v => match self.why(&v) {
                Some(why) => self.walk.alg.data_in_range(&why, (Some(0), Some(1))),
                None => self.walk.flag("a uniform condition"),
            },
        }
    }

    pub(super) fn instruction(&mut self, i: &Instruction) {
        if let Some(id) = i.debug
            && *self
                .places
                .entry(id)
                .or_insert_with(|| self.ir.locations.place(id).is_some_and(|p| p.line > 0))
        {
            self.last_place = id;
        }
        let value = self.compute(&i.op, i.result);
        if let Some(name) = i.result {
            self.values[name as usize] = Some(value);
        }
    }

    fn compute(&mut self, op: &Ir, name: Option<Name>) -> Val {
        match op {
            Ir::Binary(name, ty, a, b) => {
                let (a, b) = (self.operand(a), self.operand(b));
                let t = int_ty(ty);
                self.pairwise(&a, &b, &mut |w, a, b| w.binary(name, t, a, b))
            }
            Ir::Compare(how, ty, a, b) => {
                let (a, b) = (self.operand(a), self.operand(b));
                let t = int_ty(ty);
                self.pairwise(&a, &b, &mut |w, a, b| w.compare(how, t, a, b))
            }
            Ir::Select(c, a, b) => {
                let (x, y) = (self.operand(&a.1), self.operand(&b.1));
                if matches!(c.0, Ty::Vector(..)) {
                    let why = [&c.1, &a.1, &b.1].into_iter().find_map(|o| {
                        let v = self.operand(o);
                        self.why(&v)
                    });
                    return self.unknown(&a.0, why);
                }
                let c = self.truth(&c.1);
                self.merge(&c, &x, &y)
            }
            Ir::Phi(..) => Val::Other(None),
            Ir::Cast(name, from, v, to) => {
                let v = self.operand(v);
                self.cast(name, from, v, to)
            }
            Ir::Gep(ty, base, indices) => self.gep(ty, base, indices),
            Ir::Load(ty, p) => self.load(ty, p),
            Ir::Store((ty, v), p) => {
                let p = self.operand(p);
                self.record(&p, AccessKind::Store, ty);
                if let Val::Pointer(p) = &p {
                    let v = self.operand(v);
                    self.store_private(p, ty, v);
                }
                Val::Other(None)
            }
            Ir::Atomic(ty, p) => {
                let p = self.operand(p);
                self.record(&p, AccessKind::Atomic, ty);
                self.unknown(ty, Some("the result of an atomic operation".into()))
            }
            Ir::Call(name, ty, args) => self.call(name, ty, args),
            Ir::Extract(ty, v, i) => {
                let element = match ty {
                    Ty::Vector(_, e) => (**e).clone(),
                    _ => Ty::Other,
                };
                let (v, i) = (self.operand(v), self.int(i));
                match (&v, i.as_int().and_then(|i| usize::try_from(i).ok())) {
                    (Val::Vector(parts), Some(i)) => parts.get(i).cloned().unwrap_or(Val::Other(None)),
                    (Val::Int(x), _) => Val::Int(x.clone()),
                    _ => {
                        let why = self.why(&v).or_else(|| self.walk.why(&i));
                        self.unknown(&element, why)
                    }
                }
            }
            Ir::Insert(ty, v, x, i) => {
                let (v, x, i) = (self.operand(v), self.operand(x), self.int(i));
                let n = match ty {
                    Ty::Vector(n, _) if *n <= 64 => *n as usize,
                    _ => return Val::Other(self.why(&v).or_else(|| self.why(&x))),
                };
                let mut parts = match &v {
                    Val::Vector(p) if p.len() == n => p.to_vec(),
                    other => vec![other.clone(); n],
                };
                match i.as_int().and_then(|i| usize::try_from(i).ok()).filter(|&i| i < n) {
                    Some(i) => parts[i] = x,
                    None => {
                        return Val::Other(
                            self.why(&v).or_else(|| self.why(&x)).or_else(|| self.walk.why(&i)),
                        );
                    }
                }
                Val::Vector(Rc::new(parts))
            }
            Ir::Shuffle(ty, a, b, mask) => {
                let n = match ty {
                    Ty::Vector(n, _) => *n as usize,
                    _ => 0,
                };
                let (a, b) = (self.operand(a), self.operand(b));
                let at = |i: usize| match if i < n { &a } else { &b } {
                    Val::Vector(p) => p.get(i % n.max(1)).cloned().unwrap_or(Val::Other(None)),
                    other => other.clone(),
                };
                match mask {
                    Operand::Vector(parts) => Val::Vector(Rc::new(
                        parts
                            .iter()
                            .map(|p| match p {
                                Operand::Int(i) => usize::try_from(*i).map_or(Val::Other(None), at),
                                _ => at(0),
                            })
                            .collect(),
                    )),
                    Operand::Zero => Val::Vector(Rc::new(vec![at(0); n.min(64)])),
                    _ => Val::Other(self.why(&a).or_else(|| self.why(&b))),
                }
            }
            Ir::ExtractValue(v, path) => {
                let mut v = self.operand(v);
                for &i in path {
                    v = match v {
                        Val::Vector(p) => p.get(i).cloned().unwrap_or(Val::Other(None)),
                        other => other,
                    };
                }
                v
            }
            Ir::Alloca => Val::Pointer(Pointer {
                base: Base::Private(name.unwrap_or(Name::MAX)),
                offset: Value::int(0),
                record: None,
                within: None,
            }),
            Ir::Opaque(ty, operands) => {
                let why = operands.iter().find_map(|o| {
                    let v = self.operand(o);
                    self.why(&v)
                });
                self.unknown(ty, why)
            }
        }
    }

    pub(super) fn pairwise(
        &mut self,
        a: &Val,
        b: &Val,
        f: &mut dyn FnMut(&mut Self, &Val, &Val) -> Val,
    ) -> Val {
        match (a, b) {
            (Val::Vector(x), Val::Vector(y)) if x.len() == y.len() => {
                Val::Vector(Rc::new(x.iter().zip(y.iter()).map(|(a, b)| f(self, a, b)).collect()))
            }
            (Val::Vector(x), b) => Val::Vector(Rc::new(x.iter().map(|a| f(self, a, b)).collect())),
            (a, Val::Vector(y)) => Val::Vector(Rc::new(y.iter().map(|b| f(self, a, b)).collect())),
            (a, b) => f(self, a, b),
        }
    }

    fn binary(&mut self, name: &str, t: Int, a: &Val, b: &Val) -> Val {
        let (Val::Int(x), Val::Int(y)) = (a, b) else {
            let why = self.why(a).or_else(|| self.why(b));
            return Val::Other(why);
        };
        let signed = Int { signed: true, ..t };
        let args = [x.clone(), y.clone()];
        let alg = &mut self.walk.alg;
        Val::Int(match name {
            "add" => alg.add(x, y),
            "sub" => alg.add(x, &y.scale(-1)),
            "mul" => alg.mul(x, y),
            "udiv" => alg.apply(Op::Div(t), &args),
            "sdiv" => alg.apply(Op::Div(signed), &args),
            "urem" => alg.apply(Op::Rem(t), &args),
            "srem" => alg.apply(Op::Rem(signed), &args),
            "shl" => alg.apply(Op::Shl(t), &args),
            "lshr" => alg.apply(Op::Shr(t), &args),
            "ashr" => alg.apply(Op::Shr(signed), &args),
            "and" => alg.apply(Op::And(t), &args),
            "or" => alg.apply(Op::Or(t), &args),
            _ if t == Int::BOOL && y.as_int().is_some_and(|v| v & 1 == 1) => alg.not(x),
            _ => alg.apply(Op::Xor(t), &args),
        })
    }

    fn compare(&mut self, how: &str, t: Int, a: &Val, b: &Val) -> Val {
        let (Val::Int(x), Val::Int(y)) = (a, b) else {
            let why = self.why(a).or_else(|| self.why(b));
            return self.unknown(&Ty::Int(1), why);
        };
        let t = Int { signed: how.starts_with('s'), ..t };
        let (forward, backward) = ([x.clone(), y.clone()], [y.clone(), x.clone()]);
        let alg = &mut self.walk.alg;
        Val::Int(match how {
            "eq" => alg.apply(Op::Eq(t), &forward),
            "ne" => {
                let e = alg.apply(Op::Eq(t), &forward);
                alg.not(&e)
            }
            "ult" | "slt" => alg.apply(Op::Lt(t), &forward),
            "ugt" | "sgt" => alg.apply(Op::Lt(t), &backward),
            "ule" | "sle" => {
                let g = alg.apply(Op::Lt(t), &backward);
                alg.not(&g)
            }
            _ => {
                let l = alg.apply(Op::Lt(t), &forward);
                alg.not(&l)
            }
        })
    }

    fn cast(&mut self, name: &str, from: &Ty, v: Val, to: &Ty) -> Val {
        match (name, v) {
            ("trunc", Val::Int(x)) => match to {
                Ty::Int(bits) if *bits < 32 => {
                    let mask = Value::int((1i64 << bits) - 1);
                    Val::Int(self.walk.alg.apply(Op::And(int_ty(from)), &[x, mask]))
                }
                _ => Val::Int(x),
            },
            ("sext", Val::Int(x)) if *from == Ty::Int(1) => Val::Int(x.scale(-1)),
            ("zext" | "sext" | "freeze" | "bitcast", v) if matches!((from, to), (Ty::Int(_), Ty::Int(_))) => {
                v
            }
            ("freeze" | "addrspacecast", v) => v,
            // A vector as one integer: its first component in the lowest bits; and back.
            ("bitcast", Val::Vector(parts)) if self.packed(from, to, &parts).is_some() => {
                let packed = self.packed(from, to, &parts).unwrap_or_else(|| Value::int(0));
                Val::Int(packed)
            }
            ("bitcast", Val::Int(x)) if unpacked_bits(from, to).is_some() => {
                let (n, bits) = unpacked_bits(from, to).unwrap_or((1, 32));
                let t = int_ty(from);
                let mask = Value::int((1i64 << bits) - 1);
                let part = |w: &mut Self, i: u64| {
                    let shifted = w.walk.alg.apply(Op::Shr(t), &[x.clone(), Value::int((i * bits) as i64)]);
                    Val::Int(w.walk.alg.apply(Op::And(t), &[shifted, mask.clone()]))
                };
                Val::Vector(Rc::new((0..n).map(|i| part(self, i)).collect()))
            }
            ("zext" | "sext" | "trunc", Val::Vector(parts)) => Val::Vector(parts),
            ("inttoptr" | "ptrtoint", v) => {
                let why = self.why(&v);
                match to {
                    Ty::Ptr => Val::Pointer(Pointer {
                        base: Base::Unknown(why),
                        offset: Value::int(0),
                        record: None,
                        within: None,
                    }),
                    _ => self.unknown(to, why),
                }
            }
            (n, v) => {
                let why = self.why(&v);
                let why = if n.starts_with("fpto") {
                    why.map(|_| "a floating-point computation".into())
                } else {
                    why
                };
                self.unknown(to, why)
            }
        }
    }

    /// The components of a vector of natural numbers side by side in one integer of the same size.
    fn packed(&self, from: &Ty, to: &Ty, parts: &[Val]) -> Option<Value> {
        let (n, bits) = unpacked_bits(to, from).filter(|(n, _)| *n as usize == parts.len())?;
        let mut sum = Value::int(0);
        for (i, part) in (0..n).zip(parts) {
            let Val::Int(part) = part else { return None };
            let (low, high) = self.walk.alg.range(part);
            if low < Some(0) || high? >= 1 << bits {
                return None;
            }
            sum = sum.add(&part.scale(1i64.checked_shl((i * bits) as u32)?));
        }
        Some(sum)
    }

    /// Something of a type of which only the reason for its difference is known.
    pub(super) fn unknown(&mut self, ty: &Ty, why: Option<Rc<str>>) -> Val {
        match (ty, why) {
            (Ty::Int(1), Some(why)) => Val::Int(self.walk.alg.data_in_range(&why, (Some(0), Some(1)))),
            (Ty::Int(1), None) => Val::Int(self.walk.flag("a uniform condition")),
            (Ty::Int(_), Some(why)) => Val::Int(self.walk.alg.data(&why, true)),
            (Ty::Int(_), None) => Val::Int(self.walk.fresh("a uniform value")),
            (Ty::Ptr, why) => Val::Pointer(Pointer {
                base: Base::Unknown(why),
                offset: Value::int(0),
                record: None,
                within: None,
            }),
            (Ty::Vector(n, e), why) if *n <= 64 && matches!(**e, Ty::Int(_)) => {
                Val::Vector(Rc::new((0..*n).map(|_| self.unknown(e, why.clone())).collect()))
            }
            (_, why) => Val::Other(why),
        }
    }

    fn gep(&mut self, ty: &Ty, base: &Operand, indices: &[(Ty, Operand)]) -> Val {
        let mut p = match self.operand(base) {
            Val::Pointer(p) => p,
            v => {
                let why = self.why(&v);
                return Val::Pointer(Pointer {
                    base: Base::Unknown(why),
                    offset: Value::int(0),
                    record: None,
                    within: None,
                });
            }
        };
        let mut ty = ty.clone();
        for (i, (_, index)) in indices.iter().enumerate() {
            let index = self.int(index);
            if i == 0 {
                let size = self.module.layout(&ty, 0).0;
                if self.module.is_struct(&ty) && p.record.is_none() && index.as_int().is_none() {
                    let name = match &ty {
                        Ty::Named(n) => {
                            n.trim_start_matches("struct.").trim_start_matches("class.").to_string()
                        }
                        _ => String::new(),
                    };
                    p.record = Some(Record { name, stride: size, vector: false });
                }
                p.offset = self.walk.alg.add(&p.offset, &index.scale(size as i64));
                continue;
            }
            let next = match &ty {
                Ty::Array(n, e) | Ty::Vector(n, e) => {
                    let e = (**e).clone();
                    let size = self.module.layout(&e, 0).0;
                    if let (Some(at), None) = (p.offset.as_int(), index.as_int()) {
                        p.within = Some((at, at.saturating_add(n.saturating_mul(size) as i64)));
                    }
                    p.offset = self.walk.alg.add(&p.offset, &index.scale(size as i64));
                    Some(e)
                }
                t => {
                    let at = index.as_int().and_then(|i| usize::try_from(i).ok());
                    at.and_then(|at| self.module.member(t, at)).map(|(offset, member)| {
                        p.offset = p.offset.add(&Value::int(offset as i64));
                        member
                    })
                }
            };
            match next {
                Some(t) => ty = t,
                None => {
                    p.base = Base::Unknown(None);
                    break;
                }
            }
        }
        Val::Pointer(p)
    }

    fn load(&mut self, ty: &Ty, p: &Operand) -> Val {
        let pointer = self.operand(p);
        self.record(&pointer, AccessKind::Load, ty);
        let Val::Pointer(p) = pointer else { return self.unknown(ty, None) };
        if let Base::Either(all) = &p.base {
            let mut why = self.walk.why(&p.offset);
            for (c, p) in all.iter() {
                why = why.or_else(|| self.walk.why(c)).or_else(|| self.walk.why(&p.offset));
            }
            return self.unknown(ty, why.map(|_| "values loaded from one of several buffers".into()));
        }
        let differs = self.walk.why(&p.offset);
        match &p.base {
            Base::Buffer(i) => {
                let param = self.params.get(*i).copied();
                let name = param.map_or_else(|| format!("buffer {i}"), |p| p.name.clone());
                let constant = param.is_some_and(|p| self.space_of(p) == Space::Uniform);
                let key = (*i, p.offset.clone(), format!("{ty:?}"));
                if let Some(v) = self.loaded.get(&key).filter(|_| constant) {
                    return v.clone();
                }
                let v = match (&differs, p.offset.as_int(), ty) {
                    (Some(_), _, _) => self.unknown(ty, Some(format!("values loaded from `{name}`").into())),
                    (None, Some(at), Ty::Int(bits)) if constant && *bits > 1 => {
                        let by_offset = if at == 0 { name.clone() } else { format!("{name}+{at}") };
                        let path = u64::try_from(at)
                            .ok()
                            .and_then(|at| param.and_then(|p| self.names.path(&p.ty, at)));
                        let full = path.map_or_else(|| by_offset.clone(), |path| format!("{name}{path}"));
                        Val::Int(self.walk.parameter_named(&full, &by_offset))
                    }
                    (None, _, Ty::Int(bits)) if *bits > 1 => Val::Int(self.walk.fresh(&format!("{name}[…]"))),
                    (None, _, _) => self.unknown(ty, None),
                };
                if constant {
                    self.loaded.insert(key, v.clone());
                }
                v
            }
            Base::Group(name) => {
                let why = differs.map(|_| format!("values loaded from `{name}`").into());
                self.unknown(ty, why)
            }
            Base::Exchange => {
                let why = differs.map(|_| "a shuffle between lanes".into());
                self.unknown(ty, why)
            }
            Base::Private(_) => match self.load_private(&p, ty) {
                Some(v) => v,
                None => self.unknown(ty, Some("a private array".into())),
            },
            Base::Either(_) => self.unknown(ty, Some("one of several buffers".into())),
            Base::Texture => self.unknown(ty, Some("a texture".into())),
            Base::Table => {
                let why = differs.map(|_| "values loaded from a constant table".into());
                self.unknown(ty, why)
            }
            Base::Constant(name) => {
                let v = self.walk.parameter(name);
                match ty {
                    Ty::Int(bits) if *bits > 1 => Val::Int(v),
                    _ => self.unknown(ty, None),
                }
            }
            // One that has a value is defined.
            Base::Defined(name) => {
                self.walk.parameter(name);
                let given = self.walk.settings.number_of(name).is_some();
                Val::Int(if given { Value::int(1) } else { self.walk.flag(&format!("`{name}` is defined")) })
            }
            Base::Unknown(why) => {
                let why = why.clone().or(differs);
                self.unknown(ty, why)
            }
        }
    }

    pub(super) fn record(&mut self, pointer: &Val, kind: AccessKind, ty: &Ty) {
        if self.walk.quiet > 0 {
            return;
        }
        let Val::Pointer(p) = pointer else { return };
        if let Base::Either(all) = &p.base {
            for (c, one) in all.iter() {
                let one = Pointer { offset: one.offset.add(&p.offset), ..one.clone() };
                self.walk.conditions.push(c.clone());
                self.record(&Val::Pointer(one), kind, ty);
                self.walk.conditions.pop();
            }
            return;
        }
        let (buffer, space, place) = match &p.base {
            Base::Buffer(i) => {
                let param = self.params.get(*i).copied();
                let space = param.map_or(Space::Storage, |p| self.space_of(p));
                // Scalars by reference are parameters, not accesses worth a line.
                if space == Space::Uniform && p.offset.as_int().is_some() {
                    return;
                }
                (
                    param.map_or_else(|| format!("buffer {i}"), |p| p.name.clone()),
                    space,
                    Place::Offset(p.offset.clone()),
                )
            }
            Base::Group(name) => (name.to_string(), Space::Workgroup, Place::Offset(p.offset.clone())),
            Base::Texture => (
                "texture".into(),
                Space::Texture,
                Place::Unknown("the layout of texels in memory is the driver's own".into()),
            ),
            Base::Unknown(why) => (
                "memory".into(),
                Space::Storage,
                Place::Unknown(why.as_deref().unwrap_or("a pointer that could not be followed").into()),
            ),
            Base::Private(_)
            | Base::Exchange
            | Base::Table
            | Base::Constant(_)
            | Base::Defined(_)
            | Base::Either(_) => return,
        };
        let assumed = match &place {
            Place::Offset(v) if !self.assumed.is_empty() => {
                let atoms = self.walk.alg.closure([v]);
                let made = |r: &std::ops::Range<usize>| atoms.iter().any(|a| r.contains(&(a.0 as usize)));
                self.assumed.iter().find(|(range, _)| made(range)).map(|(_, note)| note.clone())
            }
            _ => None,
        };
        let at = self.last_place as usize;
        self.walk.sites.push(RawSite {
            assumed,
            span: at..at + 1,
            index_span: None,
            buffer,
            space,
            kind,
            width: self.module.access_bytes(ty),
            parts: Vec::new(),
            align: self.module.element_bytes(ty),
            place,
            conditions: self.walk.conditions.clone(),
            enclosing: self.walk.enclosing.clone(),
            record: self.record_of(p),
            pitches: Vec::new(),
            depth: self.walk.depth,
            collective: false,
        });
    }

    /// The element that a pointer is in, vectors by the name that the text gives them.
    fn record_of(&self, p: &Pointer) -> Option<Record> {
        let mut record = p.record.clone()?;
        if let (true, Base::Buffer(i)) = (record.name.starts_with("metal::"), &p.base)
            && let Some(param) = self.params.get(*i)
        {
            record.name = param.ty.trim_start_matches("const ").trim_end_matches([' ', '*', '&']).to_string();
        }
        Some(record)
    }

    /// `yes` where the condition holds, else `no`.
    pub(super) fn merge(&mut self, c: &Value, yes: &Val, no: &Val) -> Val {
        if yes == no {
            return no.clone();
        }
        match (yes, no) {
            (Val::Int(a), Val::Int(b)) => Val::Int(self.walk.select(c, a, b)),
            (Val::Pointer(a), Val::Pointer(b)) if a.base == b.base => {
                let offset = self.walk.select(c, &a.offset, &b.offset);
                let within = a.within.filter(|_| a.within == b.within);
                let (base, record) = (a.base.clone(), a.record.clone());
                Val::Pointer(Pointer { base, offset, record, within })
            }
            (Val::Pointer(_), Val::Int(null)) if null.as_int() == Some(0) => yes.clone(),
            (Val::Int(null), Val::Pointer(_)) if null.as_int() == Some(0) => no.clone(),
            (Val::Pointer(a), Val::Pointer(b)) if a.is_followed() && b.is_followed() => self.either(c, a, b),
            (Val::Pointer(_), Val::Pointer(_)) => {
                let why = self.why(yes).or_else(|| self.why(no)).or_else(|| self.walk.why(c));
                let why = why.or_else(|| Some("one of several buffers".into()));
                Val::Pointer(Pointer {
                    base: Base::Unknown(why),
                    offset: Value::int(0),
                    record: None,
                    within: None,
                })
            }
            (Val::Vector(a), Val::Vector(b)) if a.len() == b.len() => {
                Val::Vector(Rc::new(a.iter().zip(b.iter()).map(|(a, b)| self.merge(c, a, b)).collect()))
            }
            _ => Val::Other(self.why(yes).or_else(|| self.why(no)).or_else(|| self.walk.why(c))),
        }
    }

    /// A pointer to one of two buffers.
    fn either(&mut self, c: &Value, a: &Pointer, b: &Pointer) -> Val {
        let not = self.walk.alg.not(c);
        let mut all: Vec<(Value, Pointer)> = Vec::new();
        for (c, p) in [(c.clone(), a), (not, b)] {
            let ones = match &p.base {
                Base::Either(inner) => inner.to_vec(),
                _ => vec![(Value::int(1), Pointer { offset: Value::int(0), ..p.clone() })],
            };
            for (inner, one) in ones {
                let c = self.along(&c, &inner);
                all.push((c, Pointer { offset: one.offset.add(&p.offset), ..one }));
            }
        }
        if all.len() > MOST_ALTERNATIVES {
            let why = self.walk.why(c).or_else(|| Some("one of many buffers".into()));
            return Val::Pointer(Pointer {
                base: Base::Unknown(why),
                offset: Value::int(0),
                record: None,
                within: None,
            });
        }
        let base = Base::Either(Rc::new(all));
        Val::Pointer(Pointer { base, offset: Value::int(0), record: None, within: None })
    }
}

/// Components of a vector type, and bits of each, where an integer of its size holds them all.
fn unpacked_bits(integer: &Ty, vector: &Ty) -> Option<(u64, u64)> {
    let (Ty::Int(whole), Ty::Vector(n, element)) = (integer, vector) else { return None };
    let Ty::Int(bits) = **element else { return None };
    let all = n.checked_mul(u64::from(bits))?;
    (all == u64::from(*whole) && all < 64).then_some((*n, u64::from(bits)))
}

/// The unsigned integer type of a scalar or a vector's elements.
pub(super) fn int_ty(ty: &Ty) -> Int {
    match ty {
        Ty::Int(bits) => Int { signed: false, bits: (*bits).clamp(1, 64) as u8 },
        Ty::Vector(_, e) => int_ty(e),
        _ => Int { signed: false, bits: 64 },
    }
}
