//! Statements.

use std::rc::Rc;

use naga::{Barrier, Block, Expression, Function, Handle, Statement, SwitchValue};

use super::{Compiler, Frame, Result, Value};
use crate::exec::instr::{
    Access, AtomicAccess, AtomicOp, BarrierScope, Collective, Gather, GatherOp, ImageAccess, Instr, MaskIx,
    Pair,
};
use crate::exec::layout::Ty;
use crate::exec::regs::{File, Slot};
use crate::memory::AccessKind;

/// Deeper call chains are refused: compiling recurses.
const MAX_CALL_DEPTH: u32 = 64;

impl<'m> Compiler<'m> {
    /// Compiles a function's body here; gives the registers of its result.
    pub(super) fn inline(
        &mut self,
        function: &'m Function,
        info: &'m naga::valid::FunctionInfo,
        arguments: Vec<Value>,
        skip: u32,
    ) -> Result<Rc<[Slot]>> {
        if self.call_depth >= MAX_CALL_DEPTH {
            return self.too_large("a chain of more than 64 calls");
        }
        self.call_depth += 1;
        let mask_depth = self.mask_depth;
        let start = self.here();
        let mut result = Vec::new();
        if let Some(r) = &function.result {
            let ty = Ty::Handle(r.ty);
            let Some(components) = self.layout.components(ty) else { return self.unsupported_type(ty) };
            for c in components {
                result.push(self.new_slot(c.elem.file())?);
            }
        }
        let returns = self.new_masks(1);
        self.emit(Instr::Clear { mask: returns })?;
        let end = self.new_label();
        let mut frame = Frame {
            function,
            info,
            values: vec![None; function.expressions.len()],
            arguments,
            locals: Vec::new(),
            result: result.into(),
            returns,
            breaks: None,
            continues: None,
            shows_variables: Vec::new(),
            skip: end,
            span: self.span,
        };
        for (h, local) in function.local_variables.iter() {
            let span = function.local_variables.get_span(h);
            self.span = if span.is_defined() { span } else { frame.span };
            let init = local.init.map(|init| self.slots(&mut frame, init)).transpose()?;
            let name = local.name.as_deref().unwrap_or("a variable");
            let variable = self.new_variable(Ty::Handle(local.ty), init, name)?;
            frame.locals.push(variable);
        }
        self.block(&mut frame, &function.body)?;
        self.place_label(end);
        self.emit(Instr::Rejoin { lanes: returns, skip })?;
        let to = self.here();
        for local in &frame.locals {
            self.pin(&local.slots, start, to);
        }
        self.pin(&frame.result, start, to);
        self.mask_depth = mask_depth;
        self.call_depth -= 1;
        Ok(frame.result)
    }

    fn block(&mut self, frame: &mut Frame<'m>, block: &'m Block) -> Result<()> {
        let shown = frame.shows_variables.len();
        self.statements(frame, block)?;
        // What the block's expressions show, nobody sees any more.
        frame.shows_variables.truncate(shown);
        Ok(())
    }

    fn statements(&mut self, frame: &mut Frame<'m>, block: &'m Block) -> Result<()> {
        for (statement, &span) in block.span_iter() {
            if span.is_defined() {
                frame.span = span;
            }
            self.span = frame.span;
            self.statement(frame, statement)?;
        }
        Ok(())
    }

    fn statement(&mut self, frame: &mut Frame<'m>, statement: &'m Statement) -> Result<()> {
        match *statement {
            Statement::Emit(ref range) => range.clone().try_for_each(|h| self.evaluate_into(frame, h)),
            Statement::Block(ref block) => self.block(frame, block),
            Statement::If { condition, ref accept, ref reject } => {
                self.if_statement(frame, condition, accept, reject)
            }
            Statement::Switch { selector, ref cases } => self.switch(frame, selector, cases),
            Statement::Loop { ref body, ref continuing, break_if } => {
                self.loop_statement(frame, body, continuing, break_if)
            }
            Statement::Break => self.leave(frame, frame.breaks),
            Statement::Continue => self.leave(frame, frame.continues),
            Statement::Return { value } => {
                if let Some(value) = value {
                    let values = self.slots(frame, value)?;
                    let result = frame.result.clone();
                    for (&variable, &src) in result.iter().zip(values.iter()) {
                        self.emit(Instr::Set { variable, src })?;
                    }
                }
                self.leave(frame, Some(frame.returns))
            }
            Statement::Kill => self.unsupported("discard"),
            Statement::ControlBarrier(flags) => self.barrier(flags),
            // Within one thread memory is ordered, and across workgroups nothing waits for anything.
            Statement::MemoryBarrier(_) => Ok(()),
            Statement::Store { pointer, value } => {
                let place = self.place(frame, pointer)?;
                self.store(frame, &place, value)
            }
            Statement::ImageStore { image, coordinate, array_index, value } => {
                let elem = self.elem_of(frame, value)?;
                if elem.file() != File::Narrow {
                    return self.unsupported("textures of 64-bit components");
                }
                let global = self.image(frame, image)?;
                let bytes = self.globals[global as usize].image.map_or(0, |i| i.texel_bytes());
                let site = self.site(AccessKind::Store, global, bytes);
                let coordinate = self.slots(frame, coordinate)?.iter().copied().collect();
                let array_index = array_index.map(|h| self.index(frame, h)).transpose()?.map(|i| i.0);
                let slots = self.slots(frame, value)?;
                let values = std::array::from_fn(|i| slots[i.min(slots.len() - 1)]);
                let access =
                    ImageAccess { global, coordinate, array_index, level: None, values, site, store: true };
                self.emit(Instr::Image(Box::new(access)))
            }
            Statement::Atomic { pointer, fun, value, result } => {
                self.atomic(frame, pointer, fun, value, result)
            }
            Statement::ImageAtomic { .. } => self.unsupported("texture atomics"),
            Statement::WorkGroupUniformLoad { pointer, result } => {
                self.barrier(Barrier::WORK_GROUP)?;
                let place = self.place(frame, pointer)?;
                let slots = self.load(frame, &place)?;
                self.set_result(frame, result, slots);
                self.barrier(Barrier::WORK_GROUP)
            }
            Statement::Call { function, ref arguments, result } => {
                self.preserve(frame, None)?;
                let mut values = Vec::new();
                for &argument in arguments {
                    values.push(match self.value(frame, argument)? {
                        Value::Place(place) => Value::Place(Rc::new(self.detach(frame, &place)?)),
                        value => value,
                    });
                }
                let slots =
                    self.inline(&self.module.functions[function], &self.info[function], values, frame.skip)?;
                if let Some(result) = result {
                    self.set_result(frame, result, slots);
                }
                Ok(())
            }
            Statement::SubgroupBallot { result, predicate } => {
                let predicate = predicate.map(|h| self.slots(frame, h)).transpose()?.map(|s| s[0]);
                let mut dst = [self.constant_u32(0)?; 4];
                for d in &mut dst {
                    *d = self.new_slot(File::Narrow)?;
                }
                self.emit(Instr::Ballot { dst, predicate })?;
                self.set_result(frame, result, Rc::new(dst));
                Ok(())
            }
            Statement::SubgroupGather { mode, argument, result } => {
                self.gather(frame, mode, argument, result)
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let elem = self.elem_of(frame, argument)?;
                let pairs = self.pairs(frame, argument)?;
                let slots = pairs.iter().map(|p| p.0).collect();
                let collective = Collective { op, scan: collective_op, elem, pairs };
                self.emit(Instr::Collective(Box::new(collective)))?;
                self.set_result(frame, result, slots);
                Ok(())
            }
            Statement::CooperativeStore { target, ref data } => {
                let ty = self.layout.plain(self.ty_of(frame, target)?);
                let Ty::Cooperative(columns, rows, scalar) = ty else {
                    return self.unsupported("coopStore of this type");
                };
                let matrix = self.slots(frame, target)?[0];
                let shape = (columns as u32, rows as u32);
                self.matrix_access(frame, data, matrix, scalar.width == 2, shape, true)
            }
            Statement::RayQuery { .. } | Statement::RayPipelineFunction(_) => self.unsupported("ray tracing"),
        }
    }

    fn set_result(&mut self, frame: &mut Frame<'m>, h: Handle<Expression>, slots: Rc<[Slot]>) {
        frame.values[h.index()] = Some(Value::Slots(slots));
    }

    fn leave(&mut self, frame: &Frame<'m>, to: Option<MaskIx>) -> Result<()> {
        let Some(to) = to else { return self.unsupported("break or continue outside of a loop") };
        self.emit(Instr::Leave { to, skip: frame.skip })
    }

    fn barrier(&mut self, flags: Barrier) -> Result<()> {
        let scope = BarrierScope {
            storage: flags.intersects(Barrier::STORAGE | Barrier::TEXTURE),
            workgroup: flags.contains(Barrier::WORK_GROUP),
        };
        self.emit(if scope.storage || scope.workgroup {
            Instr::Barrier(scope)
        } else {
            Instr::SubgroupBarrier
        })
    }

    /// Where a block that is one jump goes.
    fn jump_of(&self, frame: &Frame<'m>, block: &Block) -> Option<MaskIx> {
        match **block {
            [Statement::Break] => frame.breaks,
            [Statement::Continue] => frame.continues,
            [Statement::Return { value: None }] => Some(frame.returns),
            _ => None,
        }
    }

    fn if_statement(
        &mut self,
        frame: &mut Frame<'m>,
        condition: Handle<Expression>,
        accept: &'m Block,
        reject: &'m Block,
    ) -> Result<()> {
        let jump = match (accept.is_empty(), reject.is_empty()) {
            (false, true) => self.jump_of(frame, accept).map(|to| (to, true)),
            (true, false) => self.jump_of(frame, reject).map(|to| (to, false)),
            _ => None,
        };
        if let Some((to, when)) = jump {
            let condition = self.slots(frame, condition)?[0];
            return self.emit(Instr::LeaveIf { condition, when, to, skip: frame.skip });
        }
        self.preserve(frame, None)?;
        let condition = self.slots(frame, condition)?[0];
        let outer = (frame.skip, self.mask_depth);
        let saved = self.new_masks(1);
        let otherwise = self.new_label();
        self.emit(Instr::If { condition, saved, otherwise })?;
        frame.skip = otherwise;
        self.block(frame, accept)?;
        self.place_label(otherwise);
        if !reject.is_empty() {
            let end = self.new_label();
            self.emit(Instr::Else { saved, end })?;
            frame.skip = end;
            self.block(frame, reject)?;
            self.place_label(end);
        }
        (frame.skip, self.mask_depth) = outer;
        self.emit(Instr::EndIf { saved, skip: frame.skip })
    }

    fn loop_statement(
        &mut self,
        frame: &mut Frame<'m>,
        body: &'m Block,
        continuing: &'m Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<()> {
        let span = self.span;
        self.preserve(frame, None)?;
        let outer = (frame.skip, self.mask_depth, frame.breaks, frame.continues);
        let shown = frame.shows_variables.len();
        let breaks = self.new_masks(2);
        let continues = breaks + 1;
        (frame.breaks, frame.continues) = (Some(breaks), Some(continues));
        self.emit(Instr::Loop { breaks })?;
        let (start, continue_at, end) = (self.new_label(), self.new_label(), self.new_label());
        let from = self.here();
        self.place_label(start);
        frame.skip = continue_at;
        // The body's expressions are visible in the continuing block and in the condition.
        self.statements(frame, body)?;
        self.place_label(continue_at);
        self.emit(Instr::Continuing { continues, skip: end })?;
        frame.skip = end;
        self.statements(frame, continuing)?;
        if let Some(condition) = break_if {
            let condition = self.slots(frame, condition)?[0];
            self.emit(Instr::LeaveIf { condition, when: true, to: breaks, skip: end })?;
        }
        self.place_label(end);
        frame.shows_variables.truncate(shown);
        (frame.skip, self.mask_depth, frame.breaks, frame.continues) = outer;
        // The loop itself is to blame for running too long.
        self.span = span;
        self.emit(Instr::EndLoop { breaks, start, skip: frame.skip })?;
        self.loops.push((from, self.here() - 1));
        Ok(())
    }

    fn switch(
        &mut self,
        frame: &mut Frame<'m>,
        selector: Handle<Expression>,
        cases: &'m [naga::SwitchCase],
    ) -> Result<()> {
        self.preserve(frame, None)?;
        let selector = self.slots(frame, selector)?[0];
        let outer = (frame.skip, self.mask_depth, frame.breaks);
        let breaks = self.new_masks(1 + cases.len() as u32);
        let first = breaks + 1;
        let mut values = Vec::new();
        let mut default = None;
        for (i, case) in cases.iter().enumerate() {
            values.push(match case.value {
                SwitchValue::I32(v) => Some(v as u32),
                SwitchValue::U32(v) => Some(v),
                SwitchValue::Default => {
                    default = Some(i as u32);
                    None
                }
            });
        }
        self.emit(Instr::Switch { selector, breaks, values: values.into(), default })?;
        frame.breaks = Some(breaks);
        for (i, case) in cases.iter().enumerate() {
            let next = self.new_label();
            self.emit(Instr::Case { lanes: first + i as u32, next })?;
            frame.skip = next;
            self.block(frame, &case.body)?;
            if !case.fall_through {
                self.emit(Instr::Leave { to: breaks, skip: next })?;
            }
            self.place_label(next);
        }
        (frame.skip, self.mask_depth, frame.breaks) = outer;
        self.emit(Instr::Rejoin { lanes: breaks, skip: frame.skip })
    }

    fn atomic(
        &mut self,
        frame: &mut Frame<'m>,
        pointer: Handle<Expression>,
        fun: naga::AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
    ) -> Result<()> {
        use naga::AtomicFunction as Af;
        let place = self.place(frame, pointer)?;
        let Some(elem) = self.layout.elem(place.ty) else { return self.unsupported_type(place.ty) };
        let (op, compare) = match fun {
            Af::Add => (AtomicOp::Add, None),
            Af::Subtract => (AtomicOp::Subtract, None),
            Af::And => (AtomicOp::And, None),
            Af::ExclusiveOr => (AtomicOp::Xor, None),
            Af::InclusiveOr => (AtomicOp::Or, None),
            Af::Min => (AtomicOp::Min, None),
            Af::Max => (AtomicOp::Max, None),
            Af::Exchange { compare: None } => (AtomicOp::Exchange, None),
            Af::Exchange { compare: Some(c) } => (AtomicOp::CompareExchange, Some(self.slots(frame, c)?[0])),
        };
        let value = self.slots(frame, value)?[0];
        let access = self.access(frame, &place, AccessKind::Atomic, elem.size_bytes())?;
        let (mut old, mut exchanged) = (None, None);
        if let Some(result) = result {
            let old_slot = self.new_slot(elem.file())?;
            old = Some(old_slot);
            if compare.is_some() {
                let slot = self.new_slot(File::Narrow)?;
                exchanged = Some(slot);
                self.set_result(frame, result, Rc::new([old_slot, slot]));
            } else {
                self.set_result(frame, result, Rc::new([old_slot]));
            }
        }
        let access = Access { parts: Box::new([]), ..access };
        self.emit(Instr::Atomic(Box::new(AtomicAccess { access, op, elem, value, compare, old, exchanged })))
    }

    /// A fresh destination for each component of an argument.
    fn pairs(&mut self, frame: &mut Frame<'m>, argument: Handle<Expression>) -> Result<Box<[Pair]>> {
        let sources = self.slots(frame, argument)?;
        sources.iter().map(|&src| Ok((self.new_slot(src.file())?, src))).collect()
    }

    fn gather(
        &mut self,
        frame: &mut Frame<'m>,
        mode: naga::GatherMode,
        argument: Handle<Expression>,
        result: Handle<Expression>,
    ) -> Result<()> {
        use naga::GatherMode as Gm;
        let (op, index) = match mode {
            Gm::BroadcastFirst => (GatherOp::BroadcastFirst, None),
            Gm::Broadcast(i) => (GatherOp::Broadcast, Some(i)),
            Gm::Shuffle(i) => (GatherOp::Shuffle, Some(i)),
            Gm::ShuffleDown(i) => (GatherOp::Down, Some(i)),
            Gm::ShuffleUp(i) => (GatherOp::Up, Some(i)),
            Gm::ShuffleXor(i) => (GatherOp::Xor, Some(i)),
            Gm::QuadBroadcast(i) => (GatherOp::QuadBroadcast, Some(i)),
            Gm::QuadSwap(direction) => (GatherOp::QuadSwap(direction as u32 + 1), None),
        };
        let index = index.map(|h| self.index(frame, h)).transpose()?.map(|i| i.0);
        let elem = self.elem_of(frame, argument)?;
        if elem.file() == File::Matrix {
            return self.unsupported("subgroup operations on cooperative matrices");
        }
        let pairs = self.pairs(frame, argument)?;
        let slots = pairs.iter().map(|p| p.0).collect();
        self.emit(Instr::Gather(Box::new(Gather { op, index, pairs })))?;
        self.set_result(frame, result, slots);
        Ok(())
    }
}
