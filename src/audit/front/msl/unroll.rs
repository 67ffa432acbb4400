//! Loops whose values don't step evenly, followed iteration by iteration.

use std::collections::HashMap;

use super::ir::Name;
use super::loops::Phi;
use super::region::Edges;
use super::{Val, Walker};
use crate::audit::lanes::{Lanes, Value};

/// Longest loop followed to its end.
const MOST_ITERATIONS: usize = 64;
/// Iterations of a loop whose length is a parameter: enough to show what one does to the next.
const ASSUMED_ITERATIONS: usize = 2;
/// Instructions walked in one loop before it is given up.
const MOST_STEPS: usize = 12_000;
/// The same while the loop is only looked at.
const MOST_QUIET_STEPS: usize = 2_000;

/// What one iteration says about the next.
enum Next {
    All,
    None,
    /// Some lanes, known ones.
    Some(Value),
    /// It depends on a parameter.
    Open,
    /// It depends on data.
    Data,
}

impl Walker<'_> {
    /// Follows a loop with values that have no closed form. `None` if it is too long or ends by data, or has
    /// nothing of the kind; then nothing has happened.
    pub(super) fn unroll(
        &mut self,
        l: usize,
        phis: &[Phi<'_>],
        starts: &[Val],
        unresolved: &[bool],
    ) -> Result<Option<Edges>, String> {
        if unresolved.is_empty() {
            return Ok(None);
        }
        let differ = unresolved.contains(&true);
        let (sites, work, atoms) = (self.walk.sites.len(), self.work, self.walk.alg.size());
        self.walk.depth += 1;
        let followed = self.follow(l, phis, starts, differ, work);
        self.walk.depth -= 1;
        let followed = followed?;
        match &followed {
            Some((_, assumed)) => {
                if *assumed {
                    let note =
                        format!("a loop of unknown length is followed for {ASSUMED_ITERATIONS} iterations");
                    for site in &mut self.walk.sites[sites..] {
                        site.assumed = Some(note.clone());
                    }
                    self.assumed.push((atoms..self.walk.alg.size(), note));
                }
            }
            None => self.walk.sites.truncate(sites),
        }
        Ok(followed.map(|(edges, _)| edges))
    }

    /// Gives the edges out of the loop and whether its length was assumed.
    fn follow(
        &mut self,
        l: usize,
        phis: &[Phi<'_>],
        starts: &[Val],
        differ: bool,
        work: usize,
    ) -> Result<Option<(Edges, bool)>, String> {
        let header = self.cfg.loops[l].header;
        let most = if self.walk.quiet > 0 { MOST_QUIET_STEPS } else { MOST_STEPS };
        let escaping = self.escaping_from(l);
        let mut after: HashMap<Name, Val> = HashMap::new();
        let mut now = starts.to_vec();
        let mut on = Value::int(1);
        let mut out = Edges::new();
        let mut assumed = false;
        for iteration in 0..MOST_ITERATIONS {
            for ((name, _, _), v) in phis.iter().zip(&now) {
                self.values[*name as usize] = Some(v.clone());
            }
            let pushed = on.as_int().is_none();
            if pushed {
                self.walk.conditions.push(on.clone());
            }
            let edges = self.region(Some(l));
            if pushed {
                self.walk.conditions.pop();
            }
            let edges = edges?;
            if self.work - work > most {
                return Ok(None);
            }
            let next = match self.next(&edges, header) {
                Next::Data => return Ok(None),
                Next::Open if !differ => return Ok(None),
                Next::Open => {
                    assumed = true;
                    if iteration + 1 < ASSUMED_ITERATIONS { Next::All } else { Next::None }
                }
                other => other,
            };
            if matches!(next, Next::None | Next::Some(_)) {
                let leaving = if assumed { self.ways_out(&edges, header) } else { edges.clone() };
                for (edge, c) in leaving.into_iter().filter(|(e, _)| e.1 != header) {
                    let c = self.along(&on, &c);
                    let sum = out.get(&edge).map_or_else(|| c.clone(), |old: &Value| old.add(&c));
                    out.insert(edge, sum);
                }
                for &name in &escaping {
                    let Some(v) = self.values[name as usize].clone() else { continue };
                    // Those that are still on take this value, unless a later iteration gives them another.
                    let v = match after.remove(&name) {
                        Some(old) => self.merge(&on, &v, &old),
                        None => v,
                    };
                    after.insert(name, v);
                }
            }
            match next {
                Next::All | Next::Open => {}
                Next::Some(stay) => {
                    on = self.along(&on, &stay);
                    if on.as_lanes() == Some(Lanes::Uniform(0)) {
                        return Ok(Some(self.left(out, after, assumed)));
                    }
                }
                Next::None | Next::Data => return Ok(Some(self.left(out, after, assumed))),
            }
            now = phis.iter().map(|(_, _, incoming)| self.phi(header, incoming, &edges)).collect();
        }
        Ok(None)
    }

    fn left(&mut self, out: Edges, after: HashMap<Name, Val>, assumed: bool) -> (Edges, bool) {
        for (name, v) in after {
            self.values[name as usize] = Some(v);
        }
        (out, assumed)
    }

    fn next(&mut self, edges: &Edges, header: usize) -> Next {
        let mut back = Value::int(0);
        for (_, c) in edges.iter().filter(|(e, _)| e.1 == header) {
            back = self.walk.alg.add(&back, c);
        }
        match back.as_int() {
            Some(0) => return Next::None,
            Some(_) => return Next::All,
            None => {}
        }
        if self.walk.alg.data_in(&back).is_some() {
            return Next::Data;
        }
        let known = self
            .walk
            .alg
            .symbols_in(&back)
            .iter()
            .all(|&s| self.walk.alg.symbol_of(s).is_some_and(|s| s.count.is_some()));
        if known { Next::Some(back) } else { Next::Open }
    }
}
