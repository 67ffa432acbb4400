//! Sites from naga IR: each entry point is walked once, abstractly, all lanes of a workgroup together.
//!
//! Control flow is kept as a stack of conditions (0 or 1 per lane); what branches leave in variables is
//! merged by selecting on the condition. Loops are in [`loops`], pointers and accesses in [`memory`],
//! expressions in [`expr`]. Calls are inlined.

mod expr;
mod loops;
mod math;
mod memory;
mod parts;
mod value;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use naga::valid::{FunctionInfo, GlobalUse, ModuleInfo};
use naga::{Block, Function, GlobalVariable, Handle, Module, Statement, SwitchValue};

use crate::audit::front::walk::Walk;
use crate::audit::lanes::{Int, Op, Value};
use crate::audit::settings::Settings;
use crate::audit::site::Walked;
use value::Val;

/// Why a kernel could not be analysed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WalkError {
    /// Too much code after inlining and unrolling.
    #[error("the kernel is too large to follow: more than {0} steps after inlining")]
    TooLarge(usize),
    /// Something that only graphics or ray tracing has.
    #[error("{0}")]
    Unsupported(String),
}

/// Statements walked before a kernel is given up.
const MOST_WORK: usize = 1_000_000;
/// Deepest chain of calls; WGSL has no recursion.
const MOST_FRAMES: usize = 64;

/// The variables of all active frames; frame 0 holds private globals.
type State = Vec<Vec<Val>>;

struct Frame<'a> {
    function: &'a Function,
    info: &'a FunctionInfo,
    args: Vec<Val>,
    values: Vec<Option<Val>>,
}

/// Lanes that leave a block other than by its end.
struct Exit {
    condition: Value,
    state: State,
    value: Option<Val>,
}

/// How lanes leave a block.
#[derive(Default)]
struct Flow {
    /// Condition for reaching the end, given the beginning; `None` is always.
    fall: Option<Value>,
    breaks: Vec<Exit>,
    continues: Vec<Exit>,
    returns: Vec<Exit>,
}

pub(super) struct Walker<'a> {
    module: &'a Module,
    info: &'a ModuleInfo,
    walk: Walk<'a>,
    frames: Vec<Frame<'a>>,
    state: State,
    private: Vec<Handle<GlobalVariable>>,
    written: HashSet<Handle<GlobalVariable>>,
    loaded: HashMap<(Handle<GlobalVariable>, Value, String), Val>,
    /// Set when the marked statement of a loop body has been passed.
    header_sites: Option<usize>,
    work: usize,
}

/// Walks one entry point.
pub(crate) fn walk(
    module: &Module,
    info: &ModuleInfo,
    entry: usize,
    settings: &Settings,
) -> Result<Walked, WalkError> {
    let ep = &module.entry_points[entry];
    let ep_info = info.get_entry_point(entry);
    let workgroup = match (settings.workgroup_size, ep.stage) {
        (Some(size), naga::ShaderStage::Compute) => size,
        (None, naga::ShaderStage::Compute) => ep.workgroup_size,
        // Vertices and fragments are launched a subgroup at a time.
        _ => [settings.subgroup_size, 1, 1],
    };
    let state = Walk::new(settings, workgroup, "workgroup_id")
        .map_err(|total| WalkError::Unsupported(format!("a workgroup of {total} invocations")))?;
    let written = module
        .global_variables
        .iter()
        .map(|(h, _)| h)
        .filter(|&h| ep_info[h].contains(GlobalUse::WRITE) || ep_info[h].contains(GlobalUse::ATOMIC))
        .collect();
    let private: Vec<_> = module
        .global_variables
        .iter()
        .filter(|(_, g)| g.space == naga::AddressSpace::Private)
        .map(|(h, _)| h)
        .collect();
    let mut walker = Walker {
        module,
        info,
        walk: state,
        frames: Vec::new(),
        state: vec![Vec::new()],
        private,
        written,
        loaded: HashMap::new(),
        header_sites: None,
        work: 0,
    };
    for &h in &walker.private.clone() {
        let init = match module.global_variables[h].init {
            Some(init) => walker.constant(init),
            None => walker.zero(module.global_variables[h].ty),
        };
        walker.state[0].push(init);
    }
    let args: Vec<Val> = ep.function.arguments.iter().map(|a| walker.argument(a)).collect();
    walker.call(&ep.function, ep_info, args)?;
    Ok(walker.walk.finish(ep.name.clone()))
}

impl<'a> Walker<'a> {
    fn frame(&self) -> &Frame<'a> {
        &self.frames[self.frames.len() - 1]
    }

    /// Runs a function's body in a new frame and gives its value.
    fn call(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        args: Vec<Val>,
    ) -> Result<Val, WalkError> {
        if self.frames.len() >= MOST_FRAMES {
            return Err(WalkError::Unsupported("calls nested too deeply".into()));
        }
        let values = vec![None; function.expressions.len()];
        self.frames.push(Frame { function, info, args, values });
        self.state.push(Vec::new());
        for (_, variable) in function.local_variables.iter() {
            let value = match variable.init {
                Some(init) => self.expression(init)?,
                None => self.zero(variable.ty),
            };
            let top = self.state.len() - 1;
            self.state[top].push(value);
        }
        let flow = self.block(&function.body, None)?;
        self.frames.pop();
        let fall = flow.fall.clone().unwrap_or_else(|| Value::int(1));
        let mut returns = flow.returns;
        if fall != Value::int(0) || returns.is_empty() {
            returns.push(Exit { condition: fall, state: self.state.clone(), value: None });
        }
        let last = returns.pop();
        let (mut state, mut value) = match last {
            Some(e) => (e.state, e.value),
            None => (self.state.clone(), None),
        };
        for e in returns.into_iter().rev() {
            state = self.merge_states(&e.condition, &e.state, &state);
            value = match (e.value, value) {
                (Some(a), Some(b)) => Some(self.merge(&e.condition, &a, &b)),
                (a, b) => a.or(b),
            };
        }
        self.state = state;
        self.state.pop();
        Ok(value.unwrap_or(Val::Other(None)))
    }

    /// Walks a block; `mark` is the statement after which [`Walker::header_sites`] is taken.
    fn block(&mut self, block: &'a Block, mark: Option<usize>) -> Result<Flow, WalkError> {
        let mut flow = Flow::default();
        let mut live = Value::int(1);
        let before = self.walk.conditions.len();
        for (ix, (statement, span)) in block.span_iter().enumerate() {
            self.work += 1;
            if self.work > MOST_WORK || self.walk.alg.size() > 4 * MOST_WORK {
                return Err(WalkError::TooLarge(MOST_WORK));
            }
            let mut one = self.statement(statement, *span)?;
            for (from, to) in [
                (&mut one.breaks, &mut flow.breaks),
                (&mut one.continues, &mut flow.continues),
                (&mut one.returns, &mut flow.returns),
            ] {
                for mut exit in from.drain(..) {
                    exit.condition = self.walk.alg.both(&live, &exit.condition);
                    to.push(exit);
                }
            }
            if mark == Some(ix) {
                self.header_sites = Some(self.walk.sites.len());
            }
            if let Some(fall) = one.fall {
                live = self.walk.alg.both(&live, &fall);
                if live == Value::int(0) {
                    break;
                }
                self.walk.conditions.push(fall);
            }
        }
        self.walk.conditions.truncate(before);
        flow.fall = (live != Value::int(1)).then_some(live);
        Ok(flow)
    }

    fn leave(&self, value: Option<Val>) -> Exit {
        Exit { condition: Value::int(1), state: self.state.clone(), value }
    }

    fn statement(&mut self, statement: &'a Statement, span: naga::Span) -> Result<Flow, WalkError> {
        let none = || Some(Value::int(0));
        match *statement {
            Statement::Emit(ref range) => {
                for handle in range.clone() {
                    let value = self.compute(handle)?;
                    self.set(handle, value);
                }
            }
            Statement::Block(ref block) => return self.block(block, None),
            Statement::If { condition, ref accept, ref reject } => {
                let c = self.condition(condition)?;
                return self.branch(c, |w| w.block(accept, None), |w| w.block(reject, None));
            }
            Statement::Switch { selector, ref cases } => return self.switch(selector, cases),
            Statement::Loop { ref body, ref continuing, break_if } => {
                return self.run_loop(body, continuing, break_if);
            }
            Statement::Break => {
                return Ok(Flow { fall: none(), breaks: vec![self.leave(None)], ..Flow::default() });
            }
            Statement::Continue => {
                return Ok(Flow { fall: none(), continues: vec![self.leave(None)], ..Flow::default() });
            }
            Statement::Return { value } => {
                let value = value.map(|v| self.expression(v)).transpose()?;
                return Ok(Flow { fall: none(), returns: vec![self.leave(value)], ..Flow::default() });
            }
            Statement::Kill => {
                return Ok(Flow { fall: none(), returns: vec![self.leave(None)], ..Flow::default() });
            }
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => {
                self.loaded.retain(|(g, _, _), _| !self.written.contains(g));
            }
            Statement::Store { pointer, value } => self.store(pointer, value, span)?,
            Statement::Call { function, ref arguments, result } => {
                let args = arguments.iter().map(|&a| self.expression(a)).collect::<Result<_, _>>()?;
                let callee = &self.module.functions[function];
                let value = self.call(callee, &self.info[function], args)?;
                if let Some(result) = result {
                    self.set(result, value);
                }
            }
            _ => self.memory_statement(statement, span)?,
        }
        Ok(Flow::default())
    }

    /// A condition as 0 or 1 per lane.
    fn condition(&mut self, handle: Handle<naga::Expression>) -> Result<Value, WalkError> {
        let value = self.expression(handle)?;
        Ok(self.truth(&value))
    }

    fn truth(&mut self, value: &Val) -> Value {
        match value {
            Val::Int(v) => v.clone(),
            Val::Other(Some(why)) => self.walk.alg.data_in_range(&why.clone(), (Some(0), Some(1))),
            _ => self.walk.flag("a uniform condition"),
        }
    }

    fn branch(
        &mut self,
        c: Value,
        accept: impl FnOnce(&mut Self) -> Result<Flow, WalkError>,
        reject: impl FnOnce(&mut Self) -> Result<Flow, WalkError>,
    ) -> Result<Flow, WalkError> {
        match c.as_int() {
            Some(0) => return reject(self),
            Some(_) => return accept(self),
            None => {}
        }
        let not_c = self.walk.alg.not(&c);
        let before = self.state.clone();
        self.walk.conditions.push(c.clone());
        let mut yes = accept(self)?;
        self.walk.conditions.pop();
        let state_yes = std::mem::replace(&mut self.state, before);
        self.walk.conditions.push(not_c.clone());
        let mut no = reject(self)?;
        self.walk.conditions.pop();
        let mut flow = Flow::default();
        for (c, side) in [(&c, &mut yes), (&not_c, &mut no)] {
            for (from, to) in [
                (&mut side.breaks, &mut flow.breaks),
                (&mut side.continues, &mut flow.continues),
                (&mut side.returns, &mut flow.returns),
            ] {
                for mut exit in from.drain(..) {
                    exit.condition = self.walk.alg.both(c, &exit.condition);
                    to.push(exit);
                }
            }
        }
        let zero = Some(Value::int(0));
        if no.fall == zero {
            self.state = state_yes;
        } else if yes.fall != zero {
            let state_no = std::mem::take(&mut self.state);
            self.state = self.merge_states(&c, &state_yes, &state_no);
        }
        flow.fall = match (yes.fall, no.fall) {
            (None, None) => None,
            (a, b) => {
                let a = a.unwrap_or_else(|| Value::int(1));
                let b = b.unwrap_or_else(|| Value::int(1));
                let (a, b) = (self.walk.alg.both(&c, &a), self.walk.alg.both(&not_c, &b));
                Some(self.walk.alg.add(&a, &b))
            }
        };
        Ok(flow)
    }

    fn switch(
        &mut self,
        selector: Handle<naga::Expression>,
        cases: &'a [naga::SwitchCase],
    ) -> Result<Flow, WalkError> {
        let selected = self.expression(selector)?;
        let mut taken = Value::int(0);
        let mut pending = Value::int(0);
        let mut default_pending = false;
        let mut default_arm = None;
        let mut arms: Vec<(Value, &'a Block)> = Vec::new();
        for case in cases {
            let wanted = match case.value {
                SwitchValue::Default => None,
                SwitchValue::I32(v) => Some(i64::from(v)),
                SwitchValue::U32(v) => Some(i64::from(v)),
            };
            let hit = match (wanted, &selected) {
                (None, _) => {
                    default_pending = true;
                    Value::int(0)
                }
                (Some(v), Val::Int(s)) => self.walk.alg.apply(Op::Eq(Int::U32), &[s.clone(), Value::int(v)]),
                (Some(_), other) => self.truth(&other.clone()),
            };
            taken = self.walk.alg.either(&taken, &hit);
            pending = self.walk.alg.either(&pending, &hit);
            if case.fall_through && case.body.is_empty() {
                continue;
            }
            if std::mem::take(&mut default_pending) {
                default_arm = Some(arms.len());
            }
            arms.push((std::mem::replace(&mut pending, Value::int(0)), &case.body));
        }
        if let Some(arm) = default_arm.and_then(|ix| arms.get_mut(ix)) {
            let otherwise = self.walk.alg.not(&taken);
            arm.0 = self.walk.alg.either(&arm.0.clone(), &otherwise);
        }
        let mut flow = self.arms(&arms)?;
        // `break` leaves the switch only.
        let breaks = std::mem::take(&mut flow.breaks);
        for exit in breaks {
            let fall = flow.fall.clone().unwrap_or_else(|| Value::int(1));
            self.state = if fall == Value::int(0) {
                exit.state
            } else {
                let state = std::mem::take(&mut self.state);
                self.merge_states(&exit.condition, &exit.state, &state)
            };
            let fall = self.walk.alg.either(&fall, &exit.condition);
            flow.fall = (fall != Value::int(1)).then_some(fall);
        }
        Ok(flow)
    }

    fn arms(&mut self, arms: &[(Value, &'a Block)]) -> Result<Flow, WalkError> {
        match arms {
            [] => Ok(Flow::default()),
            [(c, body), rest @ ..] => self.branch(c.clone(), |w| w.block(body, None), |w| w.arms(rest)),
        }
    }

    fn merge_states(&mut self, c: &Value, yes: &State, no: &State) -> State {
        let mut merged = Vec::with_capacity(no.len());
        for (a, b) in yes.iter().zip(no) {
            merged.push(a.iter().zip(b).map(|(a, b)| self.merge(c, a, b)).collect());
        }
        merged
    }

    /// `yes` where the condition holds, else `no`.
    fn merge(&mut self, c: &Value, yes: &Val, no: &Val) -> Val {
        if yes == no {
            return no.clone();
        }
        match (yes, no) {
            (Val::Int(a), Val::Int(b)) => Val::Int(self.walk.select(c, a, b)),
            (Val::Composite(a), Val::Composite(b)) if a.len() == b.len() => {
                Val::Composite(Rc::new(a.iter().zip(b.iter()).map(|(a, b)| self.merge(c, a, b)).collect()))
            }
            _ => {
                let why = self.why(yes).or_else(|| self.why(no)).or_else(|| self.why(&Val::Int(c.clone())));
                Val::Other(why)
            }
        }
    }

    /// Why a value differs between lanes, if it does.
    fn why(&self, value: &Val) -> Option<Rc<str>> {
        match value {
            Val::Int(v) => self.walk.why(v),
            Val::Other(why) => why.clone(),
            Val::Composite(c) => c.iter().find_map(|v| self.why(v)),
            Val::Memory(_) | Val::Local(..) => None,
        }
    }
}
