//! Kernels as their signatures declare them: names, parameters, slots.

use super::token::{Kind, Tokens};

/// What a kernel's parameter is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A buffer at `[[buffer(slot)]]`; Metal's rule gives the lowest free slot where the text names none.
    Buffer {
        /// The slot.
        slot: u32,
    },
    /// Threadgroup memory whose length the host sets, at `[[threadgroup(index)]]`.
    Threadgroup {
        /// The index.
        index: u32,
    },
    /// A threadgroup variable passed by reference, as naga writes them: number `id` of the text.
    ThreadgroupVariable {
        /// The number, as in `marlin_threadgroup_variable`.
        id: u32,
    },
    /// A texture at `[[texture(index)]]`.
    Texture {
        /// The index.
        index: u32,
    },
    /// A sampler.
    Sampler,
    /// A position, index or size that Metal supplies, by the name of its attribute.
    BuiltIn(String),
}

/// Address space of a buffer parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// `device`
    Device,
    /// `constant`
    Constant,
    /// `threadgroup`
    Threadgroup,
    /// By value or `thread`.
    Thread,
}

/// One parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in the text; empty if it has none.
    pub name: String,
    /// Its type as written, address space and attributes left out.
    pub ty: String,
    /// What it is bound to.
    pub binding: Binding,
    /// Address space of what it points to.
    pub space: Space,
    /// Whether it is a reference rather than a pointer or a value.
    pub by_reference: bool,
    /// Whether a function constant decides if it exists, so that nothing needs to be bound.
    pub optional: bool,
}

/// A kernel that a host can ask for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name that a host asks for: that of `[[host_name("...")]]`, else the function's.
    pub name: String,
    /// The function with its template arguments.
    pub function: String,
    /// Parameters in order.
    pub params: Vec<Param>,
    /// What `[[max_total_threads_per_threadgroup(n)]]` says, where it can be evaluated.
    pub max_threads: Option<u32>,
    /// File that declares it.
    pub file: String,
    /// Line that declares it, from 1.
    pub line: u32,
}

/// An attribute `name(argument)`, its argument as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) argument: String,
}

/// A parameter as written, before it is known what it is bound to.
#[derive(Clone, Debug, Default)]
pub(super) struct RawParam {
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) words: Vec<String>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) line: u32,
}

/// The attributes between `[[` at token `ix` and its `]]`, and the token after.
pub(super) fn attributes(tokens: &Tokens, ix: usize, end: usize) -> (Vec<Attribute>, usize) {
    let after = tokens.after_bracket(ix, end);
    let mut list = Vec::new();
    let mut i = ix + 2;
    while i + 2 < after {
        if !tokens.is_identifier(i) {
            i += 1;
            continue;
        }
        let mut name = tokens.str(i);
        if tokens.is(i + 1, "::") {
            name = tokens.str(i + 2);
            i += 2;
        }
        let mut argument = String::new();
        i += 1;
        if tokens.is(i, "(") {
            let close = tokens.after_bracket(i, after);
            argument = match tokens.list.get(i + 1) {
                // Adjacent string literals are one.
                Some(t) if t.kind == Kind::String => {
                    (i + 1..close - 1).map(|k| tokens.str(k).trim_matches('"')).collect()
                }
                _ => tokens.join(i + 1..close - 1),
            };
            i = close;
        }
        list.push(Attribute { name: name.to_owned(), argument });
    }
    (list, after)
}

/// Splits the parameter list whose `(` is at token `open`.
pub(super) fn parameters(tokens: &Tokens, open: usize, end: usize) -> Vec<RawParam> {
    let close = tokens.after_bracket(open, end) - 1;
    let mut params = Vec::new();
    let mut param = RawParam::default();
    let (mut words, mut seen_any, mut in_default) = (Vec::new(), false, false);
    let mut finish = |param: &mut RawParam, words: &mut Vec<usize>| {
        describe(tokens, words, param);
        params.push(std::mem::take(param));
        words.clear();
    };
    let mut i = open + 1;
    while i < close {
        if !seen_any {
            param.line = tokens.list[i].line;
        }
        seen_any = true;
        if tokens.opens_attribute(i) {
            let (list, after) = attributes(tokens, i, close);
            param.attributes.extend(list);
            i = after;
            continue;
        }
        let after = match tokens.str(i) {
            "," => {
                finish(&mut param, &mut words);
                (seen_any, in_default) = (false, false);
                i += 1;
                continue;
            }
            "<" if !in_default => tokens.after_angle(i, close),
            "(" | "[" | "{" => tokens.after_bracket(i, close),
            "=" => {
                in_default = true;
                i + 1
            }
            _ => i + 1,
        };
        if !in_default {
            words.extend(i..after);
        }
        i = after;
    }
    if seen_any {
        finish(&mut param, &mut words);
    }
    params
}

/// Finds a parameter's name and type among its tokens.
fn describe(tokens: &Tokens, words: &[usize], param: &mut RawParam) {
    // The name is the last identifier outside square and angle brackets, if a type stands before it.
    let (mut square, mut angle, mut name_at) = (0, 0, None);
    let mut type_words = 0;
    for &i in words {
        match tokens.str(i) {
            "[" => square += 1,
            "]" => square -= 1,
            "<" => angle += 1,
            ">" => angle -= 1,
            _ if square == 0
                && angle == 0
                && tokens.is_identifier(i)
                && !matches!(tokens.str(i), "device" | "constant" | "threadgroup" | "thread" | "const") =>
            {
                type_words += 1;
                let qualified = tokens.is(i + 1, "::") || (i > 0 && tokens.is(i - 1, "::"));
                name_at = (type_words > 1 && !qualified).then_some(i).or(name_at);
            }
            _ => {}
        }
    }
    // `unsigned int` alone and the like have no name.
    if name_at.is_some_and(|i| matches!(tokens.str(i), "int" | "long" | "short" | "char")) {
        name_at = None;
    }
    param.name = name_at.map_or(String::new(), |i| tokens.str(i).to_owned());
    param.words = words.iter().map(|&i| tokens.str(i).to_owned()).collect();
    let is_space = |i: usize| matches!(tokens.str(i), "device" | "constant" | "threadgroup" | "thread");
    param.ty = tokens.join(words.iter().copied().filter(|&i| Some(i) != name_at && !is_space(i)));
}

/// Names that Metal supplies to a compute kernel and that the runtime knows.
pub(super) const BUILT_INS: [&str; 15] = [
    "thread_position_in_grid",
    "thread_position_in_threadgroup",
    "threadgroup_position_in_grid",
    "threads_per_grid",
    "threads_per_threadgroup",
    "threadgroups_per_grid",
    "thread_index_in_threadgroup",
    "thread_index_in_simdgroup",
    "simdgroup_index_in_threadgroup",
    "threads_per_simdgroup",
    "simdgroups_per_threadgroup",
    "thread_execution_width",
    "dispatch_threads_per_threadgroup",
    "quadgroup_index_in_threadgroup",
    "thread_index_in_quadgroup",
];

/// Decides what each parameter is bound to. `next_variable` numbers threadgroup variables.
pub(super) fn bind(raw: &[RawParam], next_variable: &mut u32) -> Result<Vec<Param>, String> {
    let space_of = |p: &RawParam| {
        let has = |w: &str| p.words.iter().any(|x| x == w);
        if has("threadgroup") {
            Space::Threadgroup
        } else if has("device") {
            Space::Device
        } else if has("constant") {
            Space::Constant
        } else {
            Space::Thread
        }
    };
    let slot_of = |p: &RawParam, name: &str| -> Result<Option<u32>, String> {
        let Some(a) = p.attributes.iter().find(|a| a.name == name) else { return Ok(None) };
        let number = a.argument.trim_end_matches(['u', 'U']).parse();
        number.map(Some).map_err(|_| format!("[[{name}({})]] of `{}` is not a number", a.argument, p.name))
    };
    let mut taken: Vec<u32> = Vec::new();
    for p in raw {
        taken.extend(slot_of(p, "buffer")?);
    }
    let mut taken_threadgroup: Vec<u32> = Vec::new();
    for p in raw {
        taken_threadgroup.extend(slot_of(p, "threadgroup")?);
    }
    let lowest_free = |taken: &mut Vec<u32>| {
        let slot = (0..).find(|n| !taken.contains(n)).unwrap_or(0);
        taken.push(slot);
        slot
    };
    let mut params = Vec::new();
    for p in raw {
        let space = space_of(p);
        let has = |w: &str| p.words.iter().any(|x| x == w);
        let by_reference = has("&") && !has("*");
        let is_texture = p.words.iter().any(|w| w.starts_with("texture") || w.starts_with("depth"));
        let built_in = p.attributes.iter().find(|a| BUILT_INS.contains(&a.name.as_str()));
        let binding = if let Some(a) = built_in {
            Binding::BuiltIn(a.name.clone())
        } else if let Some(slot) = slot_of(p, "buffer")? {
            Binding::Buffer { slot }
        } else if let Some(index) = slot_of(p, "texture")? {
            Binding::Texture { index }
        } else if p.attributes.iter().any(|a| a.name == "sampler") || has("sampler") {
            Binding::Sampler
        } else if let Some(index) = slot_of(p, "threadgroup")? {
            Binding::Threadgroup { index }
        } else if space == Space::Threadgroup && by_reference {
            *next_variable += 1;
            Binding::ThreadgroupVariable { id: *next_variable - 1 }
        } else if space == Space::Threadgroup {
            Binding::Threadgroup { index: lowest_free(&mut taken_threadgroup) }
        } else if matches!(space, Space::Device | Space::Constant) {
            Binding::Buffer { slot: lowest_free(&mut taken) }
        } else if is_texture {
            let used = params.iter().filter(|q: &&Param| matches!(q.binding, Binding::Texture { .. }));
            Binding::Texture { index: used.count() as u32 }
        } else {
            let given: Vec<_> = p.attributes.iter().map(|a| a.name.as_str()).collect();
            return Err(format!(
                "parameter `{}` has no binding that a compute kernel can have (attributes: {})",
                p.name,
                if given.is_empty() { "none".to_owned() } else { given.join(", ") }
            ));
        };
        params.push(Param {
            name: p.name.clone(),
            ty: p.ty.clone(),
            binding,
            space,
            by_reference,
            optional: p.attributes.iter().any(|a| a.name == "function_constant"),
        });
    }
    Ok(params)
}
