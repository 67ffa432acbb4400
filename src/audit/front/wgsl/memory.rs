//! Pointers, loads, stores, and the subgroup and atomic statements.

use std::rc::Rc;

use naga::{CollectiveOperation, Expression, GatherMode, Handle, Statement, SubgroupOperation, TypeInner};

use super::value::{Memory, Val};
use super::{WalkError, Walker};
use crate::audit::classify::{PREFIX, SLOTS};
use crate::audit::lanes::{Int, Lanes, Op, Value};
use crate::audit::site::{Place, RawSite, Record};
use crate::memory::{AccessKind, Space};

impl<'a> Walker<'a> {
    pub(super) fn global_name(&self, g: Handle<naga::GlobalVariable>) -> String {
        self.module.global_variables[g].name.clone().unwrap_or_else(|| format!("global {}", g.index()))
    }

    pub(super) fn size_of(&self, inner: &TypeInner) -> u64 {
        match inner {
            TypeInner::Atomic(s) => u64::from(s.width),
            TypeInner::Matrix { columns, rows, scalar } => {
                *columns as u64 * column_stride(*rows, scalar.width)
            }
            inner => u64::from(inner.try_size(self.module.to_ctx()).unwrap_or(0)),
        }
    }

    /// What a pointer expression points to.
    pub(super) fn pointee(&self, pointer: Handle<Expression>) -> TypeInner {
        match *self.type_of(pointer) {
            TypeInner::Pointer { base, .. } => self.module.types[base].inner.clone(),
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => TypeInner::Vector { size, scalar },
            TypeInner::ValuePointer { size: None, scalar, .. } => TypeInner::Scalar(scalar),
            ref other => other.clone(),
        }
    }

    /// `base[index]` or `base.member`; `source` is the index's expression.
    pub(super) fn access(
        &mut self,
        base: Handle<Expression>,
        value: Val,
        index: Val,
        source: Option<Handle<Expression>>,
    ) -> Val {
        match value {
            Val::Memory(m) => self.step(base, m, index, source),
            Val::Local(frame, v, mut path) => {
                path.push(index);
                Val::Local(frame, v, path)
            }
            other => self.pick(&other, &index),
        }
    }

    fn step(
        &mut self,
        base: Handle<Expression>,
        mut m: Memory,
        index: Val,
        source: Option<Handle<Expression>>,
    ) -> Val {
        let Val::Int(index) = index else { return Val::Other(self.why(&index)) };
        let stride = match self.pointee(base) {
            TypeInner::Array { base: element, stride, .. } => {
                if let (TypeInner::Struct { .. }, None) = (&self.module.types[element].inner, &m.record) {
                    let name = self.module.types[element].name.clone().unwrap_or_default();
                    m.record = Some(Record { name, stride: u64::from(stride), vector: false });
                }
                m.pitches.push(u64::from(stride));
                if let Some(source) = source {
                    self.factors(source, u64::from(stride), &mut m.pitches, 0);
                }
                // A component of an element is a part of it, as a field is.
                if let (TypeInner::Vector { size, scalar }, None) =
                    (&self.module.types[element].inner, &m.record)
                {
                    let name = format!("vec{}<{}>", *size as u8, scalar_name(*scalar));
                    m.record = Some(Record { name, stride: u64::from(stride), vector: true });
                }
                i64::from(stride)
            }
            TypeInner::Vector { scalar, .. } => i64::from(scalar.width),
            TypeInner::Matrix { rows, scalar, .. } => column_stride(rows, scalar.width) as i64,
            TypeInner::Struct { ref members, .. } => {
                let at = index.as_int().and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
                if let Some(member) = members.get(at) {
                    m.offset = m.offset.add(&Value::int(i64::from(member.offset)));
                    m.path = format!("{}.{}", m.path, member.name.as_deref().unwrap_or("?"));
                }
                return Val::Memory(m);
            }
            _ => 0,
        };
        let of_vector = matches!(self.pointee(base), TypeInner::Vector { .. });
        match index.as_int() {
            Some(i @ 0..4) if of_vector => {
                m.path = format!("{}.{}", m.path, ["x", "y", "z", "w"][i as usize]);
            }
            Some(i) => m.path = format!("{}[{i}]", m.path),
            None => m.path.push_str("[…]"),
        }
        if let Some(source) = source
            && self.walk.alg.varies(&index)
        {
            m.index_span = Some(self.frame().function.expressions.get_span(source));
        }
        m.offset = self.walk.alg.add(&m.offset, &index.scale(stride));
        Val::Memory(m)
    }

    /// A component of a value that is in registers.
    fn pick(&mut self, value: &Val, index: &Val) -> Val {
        let Val::Composite(parts) = value else { return value.clone() };
        if let Val::Int(i) = index {
            if let Some(i) = i.as_int() {
                return usize::try_from(i)
                    .ok()
                    .and_then(|i| parts.get(i).cloned())
                    .unwrap_or(Val::Other(None));
            }
            if parts.iter().all(|p| *p == parts[0]) {
                return parts.first().cloned().unwrap_or(Val::Other(None));
            }
            // A few integers: chosen one by one.
            if parts.len() <= 8
                && parts.iter().all(|p| matches!(p, Val::Int(_)))
                && self.walk.alg.data_in(i).is_none()
            {
                let mut chosen = parts[parts.len() - 1].clone();
                for (n, p) in parts.iter().enumerate().rev().skip(1) {
                    let hit = self.walk.alg.apply(Op::Eq(Int::U32), &[i.clone(), Value::int(n as i64)]);
                    chosen = self.merge(&hit, p, &chosen);
                }
                return chosen;
            }
        }
        let why = self.why(index).or_else(|| self.why(value));
        self.blurred(&parts[0], why)
    }

    /// Something of the same form of which only the reason for its difference is known.
    fn blurred(&mut self, value: &Val, why: Option<Rc<str>>) -> Val {
        match value {
            Val::Int(_) => match why {
                Some(why) => Val::Int(self.walk.alg.data(&why, true)),
                None => Val::Int(self.walk.fresh("an element of an array")),
            },
            Val::Composite(c) => {
                Val::Composite(Rc::new(c.iter().map(|v| self.blurred(v, why.clone())).collect()))
            }
            _ => Val::Other(why),
        }
    }

    pub(super) fn load(
        &mut self,
        handle: Handle<Expression>,
        pointer: Handle<Expression>,
    ) -> Result<Val, WalkError> {
        match self.expression(pointer)? {
            Val::Local(frame, v, path) => {
                let mut value =
                    self.state.get(frame).and_then(|f| f.get(v)).cloned().unwrap_or(Val::Other(None));
                for index in &path {
                    value = self.pick(&value, index);
                }
                Ok(value)
            }
            Val::Memory(m) => {
                let inner = self.type_of(handle);
                let width = self.size_of(inner);
                let span = self.frame().function.expressions.get_span(handle);
                if matches!(inner, TypeInner::Struct { .. }) {
                    let mut used = Vec::new();
                    self.used_parts(handle, inner, 0, &mut used);
                    self.record_parts(&m, AccessKind::Load, used, span);
                } else {
                    self.record(&m, AccessKind::Load, width, span);
                }
                Ok(self.loaded_value(&m, inner))
            }
            other => Ok(self.unknown_like(handle, self.why(&other))),
        }
    }

    /// What a load gives: the same symbol for the same address of memory that the kernel never writes.
    fn loaded_value(&mut self, m: &Memory, inner: &TypeInner) -> Val {
        let differs = self.walk.alg.varies(&m.offset);
        let cacheable = m.space != Space::Workgroup && !self.written.contains(&m.global);
        let key = (m.global, m.offset.clone(), format!("{inner:?}"));
        if cacheable && let Some(v) = self.loaded.get(&key) {
            return v.clone();
        }
        let value = if differs {
            let name = self.global_name(m.global);
            let why = match self.walk.alg.data_in(&m.offset) {
                Some(inner) if inner.contains("loaded from") && !inner.contains("at indices") => {
                    format!("values loaded from `{name}` at indices that are {inner}")
                }
                _ => format!("values loaded from `{name}`"),
            };
            self.unknown_of(inner, Some(why.into()), "")
        } else if cacheable && m.offset.as_int().is_some() {
            self.named(inner, &m.path)
        } else {
            self.unknown_of(inner, None, &m.path)
        };
        if cacheable {
            self.loaded.insert(key, value.clone());
        }
        value
    }

    /// A parameter of any type: its integers can be set by name.
    fn named(&mut self, inner: &TypeInner, path: &str) -> Val {
        match *inner {
            TypeInner::Scalar(s) if matches!(s.kind, naga::ScalarKind::Uint | naga::ScalarKind::Sint) => {
                Val::Int(self.walk.parameter(path))
            }
            TypeInner::Vector { size, scalar } => Val::Composite(Rc::new(
                ["x", "y", "z", "w"][..size as usize]
                    .iter()
                    .map(|c| self.named(&TypeInner::Scalar(scalar), &format!("{path}.{c}")))
                    .collect(),
            )),
            TypeInner::Struct { ref members, .. } if members.len() <= 128 => Val::Composite(Rc::new(
                members
                    .iter()
                    .map(|m| {
                        let path = format!("{path}.{}", m.name.as_deref().unwrap_or("?"));
                        self.named(&self.module.types[m.ty].inner, &path)
                    })
                    .collect(),
            )),
            ref other => self.unknown_of(other, None, path),
        }
    }

    pub(super) fn store(
        &mut self,
        pointer: Handle<Expression>,
        value: Handle<Expression>,
        span: naga::Span,
    ) -> Result<(), WalkError> {
        let v = self.expression(value)?;
        match self.expression(pointer)? {
            Val::Local(frame, ix, path) => {
                let old = self.state.get(frame).and_then(|f| f.get(ix)).cloned();
                if let Some(old) = old {
                    let new = self.with_path(&old, &path, &v);
                    self.state[frame][ix] = new;
                }
            }
            Val::Memory(m) => {
                let width = self.size_of(&self.pointee(pointer));
                let at = self.frame().function.expressions.get_span(pointer);
                let at = if at.is_defined() { at } else { span };
                let inner = self.pointee(pointer);
                if matches!(inner, TypeInner::Struct { .. }) {
                    let mut parts = Vec::new();
                    self.parts_of(&inner, 0, &mut parts);
                    self.record_parts(&m, AccessKind::Store, parts, at);
                } else {
                    self.record(&m, AccessKind::Store, width, at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `old` with the element at `path` replaced.
    fn with_path(&mut self, old: &Val, path: &[Val], new: &Val) -> Val {
        let Some((first, rest)) = path.split_first() else { return new.clone() };
        let Val::Composite(parts) = old else {
            let why = self.why(old).or_else(|| self.why(new)).or_else(|| self.why(first));
            return Val::Other(why);
        };
        let known = match first {
            Val::Int(i) => i.as_int(),
            _ => None,
        };
        let mut parts: Vec<Val> = parts.to_vec();
        match known.and_then(|i| usize::try_from(i).ok()) {
            Some(i) if i < parts.len() => parts[i] = self.with_path(&parts[i].clone(), rest, new),
            Some(_) => {}
            None => {
                let why = self.why(first).or_else(|| self.why(new));
                for p in &mut parts {
                    let why = why.clone().or_else(|| self.why(p));
                    *p = self.blurred(p, why);
                }
            }
        }
        Val::Composite(Rc::new(parts))
    }

    pub(super) fn record(&mut self, m: &Memory, kind: AccessKind, width: u64, span: naga::Span) {
        self.walk.push_site(RawSite {
            assumed: None,
            span: range(span),
            index_span: m.index_span.filter(|s| s.is_defined()).map(range),
            buffer: self.global_name(m.global),
            space: m.space,
            kind,
            width,
            parts: Vec::new(),
            align: 1,
            place: Place::Offset(m.offset.clone()),
            conditions: self.walk.conditions.clone(),
            enclosing: self.walk.enclosing.clone(),
            record: m.record.clone(),
            pitches: m.pitches.clone(),
            depth: self.walk.depth,
            collective: false,
        });
    }

    pub(super) fn texture(
        &mut self,
        handle: Handle<Expression>,
        image: Handle<Expression>,
        kind: AccessKind,
    ) -> Result<(), WalkError> {
        let span = self.frame().function.expressions.get_span(handle);
        self.texture_at(image, kind, span);
        Ok(())
    }

    fn texture_at(&mut self, image: Handle<Expression>, kind: AccessKind, span: naga::Span) {
        let mut at = image;
        let name = loop {
            match self.frame().function.expressions[at] {
                Expression::GlobalVariable(g) => break self.global_name(g),
                Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => at = base,
                _ => break "texture".into(),
            }
        };
        let site = RawSite {
            assumed: None,
            span: range(span),
            index_span: None,
            buffer: name,
            space: Space::Texture,
            kind,
            width: 16,
            parts: Vec::new(),
            align: 1,
            place: Place::Unknown("the layout of texels in memory is the driver's own".into()),
            conditions: Vec::new(),
            enclosing: self.walk.enclosing.clone(),
            record: None,
            pitches: Vec::new(),
            depth: self.walk.depth,
            collective: false,
        };
        self.walk.push_site(site);
    }

    /// One row (or column) of the matrix per lane: that is what memory sees of it.
    fn cooperative(
        &mut self,
        data: &naga::CooperativeData,
        matrix: &TypeInner,
        kind: AccessKind,
        span: naga::Span,
    ) -> Result<(), WalkError> {
        let TypeInner::CooperativeMatrix { columns, rows, scalar, .. } = *matrix else { return Ok(()) };
        let pointer = self.expression(data.pointer)?;
        let stride = self.expression(data.stride)?;
        let (Val::Memory(m), Val::Int(stride)) = (pointer, stride) else { return Ok(()) };
        let (lines, along) =
            if data.row_major { (rows as i64, columns as u64) } else { (columns as i64, rows as u64) };
        let size = self.walk.alg.subgroup_size() as i64;
        let lane: Vec<i64> = (0..self.walk.alg.lanes() as i64).map(|l| l % size).collect();
        let line = Value::lanes(Lanes::new(lane));
        let unit = self.size_of(&self.pointee(data.pointer)) as i64;
        let pitch = self.walk.alg.mul(&line, &stride).scale(unit);
        let taking_part = self.walk.alg.apply(Op::Lt(Int::U32), &[line, Value::int(lines)]);
        let mut conditions = self.walk.conditions.clone();
        conditions.push(taking_part);
        let offset = self.walk.alg.add(&m.offset, &pitch);
        let site = RawSite {
            assumed: None,
            span: range(span),
            index_span: None,
            buffer: self.global_name(m.global),
            space: m.space,
            kind,
            width: along * u64::from(scalar.width),
            parts: Vec::new(),
            align: 1,
            place: Place::Offset(offset),
            conditions,
            enclosing: self.walk.enclosing.clone(),
            record: None,
            pitches: Vec::new(),
            depth: self.walk.depth,
            collective: true,
        };
        self.walk.push_site(site);
        Ok(())
    }

    pub(super) fn cooperative_load(&mut self, handle: Handle<Expression>) -> Result<Val, WalkError> {
        let function = self.frame().function;
        let Expression::CooperativeLoad { ref data, .. } = function.expressions[handle] else {
            return Ok(Val::Other(None));
        };
        let matrix = self.type_of(handle).clone();
        let span = function.expressions.get_span(handle);
        self.cooperative(data, &matrix, AccessKind::Load, span)?;
        Ok(Val::Other(None))
    }

    /// Statements that touch memory or exchange values between lanes.
    pub(super) fn memory_statement(
        &mut self,
        statement: &'a Statement,
        span: naga::Span,
    ) -> Result<(), WalkError> {
        match *statement {
            Statement::ImageStore { image, .. } | Statement::ImageAtomic { image, .. } => {
                let kind = match statement {
                    Statement::ImageStore { .. } => AccessKind::Store,
                    _ => AccessKind::Atomic,
                };
                self.texture_at(image, kind, span);
            }
            Statement::Atomic { pointer, fun, value, result } => {
                let amount = self.expression(value)?;
                let mut counter = false;
                if let Val::Memory(m) = self.expression(pointer)? {
                    let width = self.size_of(&self.pointee(pointer));
                    self.record(&m, AccessKind::Atomic, width, span);
                    counter = !self.walk.alg.varies(&m.offset);
                }
                if let Some(result) = result {
                    // Each lane that adds to one counter gets a number of its own, without gaps.
                    let step = match &amount {
                        Val::Int(v) if counter => v.as_int().filter(|n| (1..=64).contains(n)),
                        _ => None,
                    };
                    let v = match (fun, step) {
                        (naga::AtomicFunction::Add | naga::AtomicFunction::Subtract, Some(step)) => {
                            Val::Int(self.walk.alg.data(SLOTS, true).scale(step))
                        }
                        _ => self.unknown_like(result, Some("the result of an atomic operation".into())),
                    };
                    self.set(result, v);
                }
            }
            Statement::WorkGroupUniformLoad { pointer, result } => {
                if let Val::Memory(m) = self.expression(pointer)? {
                    let inner = self.pointee(pointer);
                    let width = self.size_of(&inner);
                    self.record(&m, AccessKind::Load, width, span);
                }
                let v = self.unknown_like(result, None);
                self.set(result, v);
            }
            Statement::SubgroupBallot { result, .. } => {
                let v = self.unknown_like(result, None);
                self.set(result, v);
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let v = self.expression(argument)?;
                let idempotent = matches!(
                    op,
                    SubgroupOperation::All
                        | SubgroupOperation::Any
                        | SubgroupOperation::Min
                        | SubgroupOperation::Max
                        | SubgroupOperation::And
                        | SubgroupOperation::Or
                );
                let result_value = match collective_op {
                    CollectiveOperation::Reduce if idempotent && self.why(&v).is_none() => v,
                    CollectiveOperation::Reduce => self.unknown_like(result, None),
                    _ => self.unknown_like(result, Some(PREFIX.into())),
                };
                self.set(result, result_value);
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let v = self.expression(argument)?;
                let gathered = self.gather(mode, &v, result)?;
                self.set(result, gathered);
            }
            Statement::CooperativeStore { target, ref data } => {
                let matrix = self.type_of(target).clone();
                let matrix = match matrix {
                    TypeInner::Pointer { base, .. } => self.module.types[base].inner.clone(),
                    other => other,
                };
                self.cooperative(data, &matrix, AccessKind::Store, span)?;
            }
            Statement::RayQuery { .. } | Statement::RayPipelineFunction(_) => {
                return Err(WalkError::Unsupported("ray tracing is not analysed".into()));
            }
            _ => {}
        }
        Ok(())
    }

    fn gather(&mut self, mode: GatherMode, v: &Val, result: Handle<Expression>) -> Result<Val, WalkError> {
        if self.why(v).is_none() {
            return Ok(v.clone());
        }
        let index = match mode {
            GatherMode::BroadcastFirst => Val::int(0),
            GatherMode::Broadcast(i)
            | GatherMode::Shuffle(i)
            | GatherMode::ShuffleDown(i)
            | GatherMode::ShuffleUp(i)
            | GatherMode::ShuffleXor(i)
            | GatherMode::QuadBroadcast(i) => self.expression(i)?,
            GatherMode::QuadSwap(d) => Val::int(d as i64 + 1),
        };
        let uniform = matches!(mode, GatherMode::BroadcastFirst | GatherMode::Broadcast(_))
            || (matches!(mode, GatherMode::Shuffle(_)) && self.why(&index).is_none());
        if let (Val::Int(x), Val::Int(i)) = (v, &index)
            && let (Some(x), Some(i)) = (x.as_lanes(), i.as_lanes())
        {
            let size = self.walk.alg.subgroup_size();
            let total = self.walk.alg.lanes();
            let from = |lane: usize| {
                let own = lane % size;
                let i = usize::try_from(i.at(lane)).unwrap_or(0);
                let there = match mode {
                    GatherMode::BroadcastFirst | GatherMode::Broadcast(_) | GatherMode::Shuffle(_) => i,
                    GatherMode::ShuffleDown(_) => own + i,
                    GatherMode::ShuffleUp(_) => own.wrapping_sub(i),
                    GatherMode::ShuffleXor(_) => own ^ i,
                    GatherMode::QuadBroadcast(_) => own / 4 * 4 + i % 4,
                    GatherMode::QuadSwap(_) => own ^ i,
                };
                let there = if there < size { there } else { own };
                x.at((lane - own + there).min(total - 1))
            };
            return Ok(Val::Int(Value::lanes(Lanes::new((0..total).map(from).collect()))));
        }
        let why = if uniform { None } else { Some("a shuffle between lanes".into()) };
        Ok(self.unknown_like(result, why))
    }
}

/// As WGSL writes it.
fn scalar_name(s: naga::Scalar) -> String {
    let kind = match s.kind {
        naga::ScalarKind::Sint => "i",
        naga::ScalarKind::Uint => "u",
        naga::ScalarKind::Float => "f",
        _ => return "bool".into(),
    };
    format!("{kind}{}", u32::from(s.width) * 8)
}

fn column_stride(rows: naga::VectorSize, width: u8) -> u64 {
    let rows = if rows == naga::VectorSize::Bi { 2 } else { 4 };
    rows * u64::from(width)
}

fn range(span: naga::Span) -> std::ops::Range<usize> {
    span.to_range().unwrap_or(0..0)
}
