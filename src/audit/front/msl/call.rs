//! Calls: the conventions of the `metal` stage, and LLVM's intrinsics.

use super::instr::int_ty;
use super::ir::{Operand, Ty};
use super::{Base, Pointer, Val, Walker};
use crate::audit::lanes::{Int, Op, Value};
use crate::memory::AccessKind;

impl Walker<'_> {
    pub(super) fn call(&mut self, name: &str, ty: &Ty, args: &[(Ty, Operand)]) -> Val {
        let dimension = match args.first() {
            Some((_, Operand::Int(d))) => (*d).clamp(0, 2) as usize,
            _ => 0,
        };
        let size = i64::from(self.walk.settings.subgroup_size);
        let extent = i64::from(self.walk.workgroup[dimension]);
        if let Some(id) = name.strip_prefix("marlin_") {
            return match id {
                "thread_position_in_threadgroup" => Val::Int(self.walk.local_id(dimension)),
                "threadgroup_position_in_grid" => Val::Int(self.walk.group_ids[dimension].clone()),
                "thread_position_in_grid" => Val::Int(self.walk.global_id(dimension)),
                "threads_per_threadgroup" => Val::Int(Value::int(extent)),
                "threadgroups_per_grid" | "threads_per_grid" => {
                    let groups = match self.walk.settings.workgroups {
                        Some(n) => Value::int(i64::from(n[dimension])),
                        None => self
                            .walk
                            .parameter(&format!("threadgroups_per_grid.{}", ["x", "y", "z"][dimension])),
                    };
                    Val::Int(if id == "threads_per_grid" { groups.scale(extent) } else { groups })
                }
                "thread_index_in_threadgroup" => Val::Int(self.walk.lanes(|l| l)),
                "thread_index_in_simdgroup" => Val::Int(self.walk.lanes(|l| l % size)),
                "simdgroup_index_in_threadgroup" => Val::Int(self.walk.lanes(|l| l / size)),
                "threads_per_simdgroup" => Val::Int(Value::int(size)),
                "simdgroups_per_threadgroup" => {
                    Val::Int(Value::int((self.walk.alg.lanes() as i64 + size - 1) / size))
                }
                "threadgroup_variable" => {
                    let id = match args.first() {
                        Some((_, Operand::Int(i))) => *i,
                        _ => -1,
                    };
                    let name = self.ir.variables.iter().find(|v| i64::from(v.id) == id);
                    let name = name.map_or_else(|| format!("threadgroup variable {id}"), |v| v.name.clone());
                    Val::Pointer(Pointer {
                        base: Base::Group(name.into()),
                        offset: Value::int(0),
                        record: None,
                        within: None,
                    })
                }
                "threadgroup_argument" => Val::Pointer(Pointer {
                    base: Base::Group(format!("threadgroup({dimension})").into()),
                    offset: Value::int(0),
                    record: None,
                    within: None,
                }),
                "threadgroup_barrier" | "simdgroup_barrier" => Val::Other(None),
                "simd_exchange" => Val::Pointer(Pointer {
                    base: Base::Exchange,
                    offset: Value::int(0),
                    record: None,
                    within: None,
                }),
                "texture_argument" => Val::Pointer(Pointer {
                    base: Base::Texture,
                    offset: Value::int(0),
                    record: None,
                    within: None,
                }),
                _ => self.unknown(ty, Some("a call that is not followed".into())),
            };
        }
        let values: Vec<Val> = args.iter().map(|a| self.operand(&a.1)).collect();
        let t = int_ty(ty);
        let signed = Int { signed: true, ..t };
        let stem = name.strip_prefix("llvm.").and_then(|n| n.split('.').next()).unwrap_or("");
        let two = |w: &mut Self, op: Op| {
            w.pairwise(&values[0], &values[1], &mut |w, a, b| match (a, b) {
                (Val::Int(a), Val::Int(b)) => Val::Int(w.walk.alg.apply(op.clone(), &[a.clone(), b.clone()])),
                (a, b) => Val::Other(w.why(a).or_else(|| w.why(b))),
            })
        };
        match (stem, values.len()) {
            ("umin", 2) => two(self, Op::Min(t)),
            ("smin", 2) => two(self, Op::Min(signed)),
            ("umax", 2) => two(self, Op::Max(t)),
            ("smax", 2) => two(self, Op::Max(signed)),
            ("abs", 2) => match &values[0] {
                Val::Int(v) => Val::Int(self.walk.alg.apply(Op::Max(signed), &[v.clone(), v.scale(-1)])),
                v => Val::Other(self.why(v)),
            },
            ("usub", 2) => match (&values[0], &values[1]) {
                // Saturating: max(a, b) - b.
                (Val::Int(a), Val::Int(b)) => {
                    let most = self.walk.alg.apply(Op::Max(t), &[a.clone(), b.clone()]);
                    Val::Int(most.sub(b))
                }
                (a, b) => Val::Other(self.why(a).or_else(|| self.why(b))),
            },
            ("ctpop" | "ctlz" | "cttz" | "bitreverse", _) => match &values[0] {
                Val::Int(v) => {
                    let op = match stem {
                        "ctpop" => Op::CountOnes(t),
                        "ctlz" => Op::LeadingZeros(t),
                        "bitreverse" => Op::ReverseBits(t),
                        _ => Op::TrailingZeros(t),
                    };
                    Val::Int(self.walk.alg.apply(op, std::slice::from_ref(v)))
                }
                v => Val::Other(self.why(v)),
            },
            ("memcpy" | "memmove", 3..) => {
                // A struct or vector that is copied whole.
                let bytes = match &values[2] {
                    Val::Int(n) => n.as_int().and_then(|n| u64::try_from(n).ok()),
                    _ => None,
                };
                if let Some(bytes) = bytes.filter(|n| (1..=4096).contains(n)) {
                    let ty = Ty::Array(bytes, Box::new(Ty::Int(8)));
                    self.record(&values[1], AccessKind::Load, &ty);
                    self.record(&values[0], AccessKind::Store, &ty);
                }
                self.fill_private(&values[0], Some(&values[1]), &values[2]);
                Val::Other(None)
            }
            ("memset", 3..) => {
                self.fill_private(&values[0], None, &values[2]);
                Val::Other(None)
            }
            ("lifetime" | "assume", _) => Val::Other(None),
            _ => {
                if stem.is_empty() {
                    self.forget_private(&values);
                }
                let why = values.iter().find_map(|v| self.why(v));
                self.unknown(ty, why)
            }
        }
    }
}
