//! A reader of textual LLVM IR: only what clang writes for kernels at `-O1`.

use std::collections::HashMap;

use crate::metal::dbg_id;

/// A type, as far as sizes and integers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ty {
    Void,
    Int(u32),
    /// Floating point of so many bytes.
    Float(u64),
    Ptr,
    Vector(u64, Box<Ty>),
    Array(u64, Box<Ty>),
    Struct(Vec<Ty>, bool),
    Named(String),
    Other,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// `%name`
    Local(String),
    /// `@name`
    Global(String),
    Int(i64),
    /// `<4 x i32> <i32 0, …>`
    Vector(Vec<Operand>),
    /// Zero of any type.
    Zero,
    /// Something that is no integer.
    Other,
}

pub(super) type Typed = (Ty, Operand);

#[derive(Clone, Debug)]
pub(super) enum Op {
    Binary(String, Ty, Operand, Operand),
    Compare(String, Ty, Operand, Operand),
    Select(Typed, Typed, Typed),
    Phi(Ty, Vec<(Operand, String)>),
    /// Conversion: name, from, operand, to.
    Cast(String, Ty, Operand, Ty),
    /// Element type, pointer, indices.
    Gep(Ty, Operand, Vec<Typed>),
    Load(Ty, Operand),
    Store(Typed, Operand),
    Atomic(Ty, Operand),
    Call(String, Ty, Vec<Typed>),
    Extract(Ty, Operand, Operand),
    Insert(Ty, Operand, Operand, Operand),
    Shuffle(Ty, Operand, Operand, Operand),
    ExtractValue(Operand, Vec<usize>),
    Alloca,
    /// Result unknown, operands listed: differs between lanes if one of them does.
    Opaque(Ty, Vec<Operand>),
}

#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub(super) result: Option<String>,
    pub(super) op: Op,
    pub(super) debug: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    Jump(String),
    Branch(Operand, String, String),
    Switch(Operand, String, Vec<(i64, String)>),
    Return,
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) label: String,
    pub(super) code: Vec<Instruction>,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) params: Vec<String>,
    pub(super) blocks: Vec<Block>,
}

/// A module's functions by name, and its struct types.
#[derive(Debug, Default)]
pub(in crate::audit) struct Module {
    pub(super) functions: HashMap<String, Function>,
    structs: HashMap<String, Ty>,
}

impl Module {
    pub(super) fn parse(text: &str) -> Self {
        let mut module = Module::default();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with('%') {
                if let Some((name, body)) = line.split_once(" = type ") {
                    let ty = Reader::new(body).ty();
                    module.structs.insert(name.trim_start_matches('%').trim_matches('"').to_string(), ty);
                }
            } else if line.starts_with("define ") {
                let mut body = Vec::new();
                for l in lines.by_ref() {
                    if l == "}" {
                        break;
                    }
                    body.push(l);
                }
                if let Some((name, function)) = function(line, &body) {
                    module.functions.insert(name, function);
                }
            }
        }
        module
    }

    /// Size and alignment in bytes.
    pub(super) fn layout(&self, ty: &Ty, depth: usize) -> (u64, u64) {
        if depth > 32 {
            return (0, 1);
        }
        match ty {
            Ty::Int(bits) => {
                let bytes = u64::from(*bits).div_ceil(8).next_power_of_two();
                (bytes, bytes.min(16))
            }
            Ty::Float(bytes) => (*bytes, *bytes),
            Ty::Ptr => (8, 8),
            Ty::Vector(n, e) => {
                let bytes = n.saturating_mul(self.layout(e, depth + 1).0).max(1);
                let rounded = bytes.checked_next_power_of_two().unwrap_or(bytes);
                (rounded, rounded)
            }
            Ty::Array(n, e) => {
                let (size, align) = self.layout(e, depth + 1);
                (n.saturating_mul(size), align)
            }
            Ty::Struct(members, packed) => {
                let (mut at, mut most) = (0u64, 1u64);
                for m in members {
                    let (size, align) = self.layout(m, depth + 1);
                    let align = if *packed { 1 } else { align.max(1) };
                    at = at.div_ceil(align).saturating_mul(align).saturating_add(size);
                    most = most.max(align);
                }
                (at.div_ceil(most).saturating_mul(most), most)
            }
            Ty::Named(name) => self.structs.get(name).map_or((0, 1), |t| self.layout(t, depth + 1)),
            Ty::Void | Ty::Other => (0, 1),
        }
    }

    /// Bytes that a load or store of the type touches.
    pub(super) fn access_bytes(&self, ty: &Ty) -> u64 {
        match ty {
            Ty::Vector(n, e) => n.saturating_mul(self.layout(e, 0).0),
            t => self.layout(t, 0).0,
        }
    }

    /// Offset and type of a member.
    pub(super) fn member(&self, ty: &Ty, index: usize) -> Option<(u64, Ty)> {
        match ty {
            Ty::Named(name) => self.member(self.structs.get(name)?, index),
            Ty::Struct(members, packed) => {
                let mut at = 0u64;
                for (i, m) in members.iter().enumerate() {
                    let (size, align) = self.layout(m, 0);
                    let align = if *packed { 1 } else { align.max(1) };
                    at = at.div_ceil(align) * align;
                    if i == index {
                        return Some((at, m.clone()));
                    }
                    at += size;
                }
                None
            }
            _ => None,
        }
    }

    /// Whether the type is a struct, by name or in place.
    pub(super) fn is_struct(&self, ty: &Ty) -> bool {
        matches!(ty, Ty::Struct(..))
            || matches!(ty, Ty::Named(n) if self.structs.get(n).is_some_and(|t| matches!(t, Ty::Struct(..))))
    }
}

fn function(header: &str, body: &[&str]) -> Option<(String, Function)> {
    let at = header.find('@')?;
    let mut r = Reader::new(&header[at + 1..]);
    let name = r.name();
    r.expect("(");
    let mut params = Vec::new();
    let mut depth = 1;
    while let Some(t) = r.token() {
        match t {
            "(" => depth += 1,
            ")" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "%" => params.push(r.name()),
            _ => {}
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut label = params.len().to_string();
    let mut code = Vec::new();
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if !line.starts_with(' ') {
            // `name:` or `"name":`
            if let Some(colon) = line.find(':') {
                label = line[..colon].trim_matches('"').to_string();
            }
            continue;
        }
        let line = line.trim_start();
        if line.starts_with("#dbg") {
            continue;
        }
        let mut r = Reader::new(line);
        let first = r.peek();
        let end = match first {
            Some("ret" | "unreachable" | "resume") => Some(End::Return),
            Some("br") => {
                r.token();
                if r.peek() == Some("label") {
                    r.token();
                    r.expect("%");
                    Some(End::Jump(r.name()))
                } else {
                    let (_, c) = r.typed();
                    let mut labels = Vec::new();
                    while let Some(t) = r.token() {
                        if t == "%" && labels.len() < 2 {
                            labels.push(r.name());
                        }
                    }
                    let b = labels.pop()?;
                    let a = labels.pop()?;
                    Some(End::Branch(c, a, b))
                }
            }
            Some("switch") => {
                r.token();
                let (_, v) = r.typed();
                r.expect(",");
                r.expect("label");
                r.expect("%");
                let default = r.name();
                let mut cases = Vec::new();
                for l in lines.by_ref() {
                    let l = l.trim();
                    if l.starts_with(']') {
                        break;
                    }
                    let mut r = Reader::new(l);
                    if let (_, Operand::Int(v)) = r.typed() {
                        r.expect(",");
                        r.expect("label");
                        r.expect("%");
                        cases.push((v, r.name()));
                    }
                }
                Some(End::Switch(v, default, cases))
            }
            _ => None,
        };
        match end {
            Some(end) => {
                blocks.push(Block { label: std::mem::take(&mut label), code: std::mem::take(&mut code), end })
            }
            None => code.push(instruction(line)),
        }
    }
    Some((name, Function { params, blocks }))
}

fn instruction(line: &str) -> Instruction {
    let debug = dbg_id(line);
    let mut r = Reader::new(line);
    let mut result = None;
    if r.peek() == Some("%") {
        r.token();
        result = Some(r.name());
        r.expect("=");
    }
    let mut word = r.token().unwrap_or("");
    while matches!(word, "tail" | "musttail" | "notail") {
        word = r.token().unwrap_or("");
    }
    let op = match word {
        "add" | "sub" | "mul" | "shl" | "lshr" | "ashr" | "and" | "or" | "xor" | "udiv" | "sdiv" | "urem"
        | "srem" => {
            r.skip_flags();
            let (ty, a) = r.typed();
            r.expect(",");
            let b = r.operand(&ty);
            Op::Binary(word.into(), ty, a, b)
        }
        "icmp" => {
            r.skip_flags();
            let how = r.token().unwrap_or("eq").to_string();
            let (ty, a) = r.typed();
            r.expect(",");
            let b = r.operand(&ty);
            Op::Compare(how, ty, a, b)
        }
        "select" => {
            r.skip_flags();
            let c = r.typed();
            r.expect(",");
            let a = r.typed();
            r.expect(",");
            Op::Select(c, a, r.typed())
        }
        "phi" => {
            r.skip_flags();
            let ty = r.ty();
            let mut incoming = Vec::new();
            while r.peek() == Some("[") {
                r.token();
                let v = r.operand(&ty);
                r.expect(",");
                r.expect("%");
                incoming.push((v, r.name()));
                r.expect("]");
                r.expect(",");
            }
            Op::Phi(ty, incoming)
        }
        "zext" | "sext" | "trunc" | "bitcast" | "ptrtoint" | "inttoptr" | "fptoui" | "fptosi" | "uitofp"
        | "sitofp" | "fpext" | "fptrunc" | "addrspacecast" => {
            r.skip_flags();
            let (from, v) = r.typed();
            r.expect("to");
            Op::Cast(word.into(), from, v, r.ty())
        }
        "freeze" => {
            let (ty, v) = r.typed();
            Op::Cast("freeze".into(), ty.clone(), v, ty)
        }
        "getelementptr" => {
            r.skip_flags();
            let ty = r.ty();
            r.expect(",");
            let (_, base) = r.typed();
            let mut indices = Vec::new();
            while r.peek() == Some(",") {
                r.token();
                if r.peek() == Some("!") {
                    break;
                }
                indices.push(r.typed());
            }
            Op::Gep(ty, base, indices)
        }
        "load" => {
            r.skip_flags();
            let ty = r.ty();
            r.expect(",");
            Op::Load(ty, r.typed().1)
        }
        "store" => {
            r.skip_flags();
            let v = r.typed();
            r.expect(",");
            Op::Store(v, r.typed().1)
        }
        "atomicrmw" => {
            r.skip_flags();
            r.token();
            let (_, p) = r.typed();
            r.expect(",");
            Op::Atomic(r.typed().0, p)
        }
        "cmpxchg" => {
            r.skip_flags();
            let (_, p) = r.typed();
            r.expect(",");
            Op::Atomic(r.typed().0, p)
        }
        "call" => {
            r.skip_flags();
            let mut ty = Ty::Void;
            // Return attributes stand before the type.
            while let Some(t) = r.peek() {
                if matches!(
                    t,
                    "noundef" | "nonnull" | "noalias" | "zeroext" | "signext" | "range" | "nofpclass"
                ) || t == "("
                {
                    r.token();
                    if t == "(" {
                        r.skip_to(")");
                    }
                    continue;
                }
                if matches!(t, "align" | "dereferenceable") {
                    r.token();
                    if r.peek() == Some("(") {
                        r.token();
                        r.skip_to(")");
                    } else {
                        r.token();
                    }
                    continue;
                }
                ty = r.ty();
                break;
            }
            if r.peek() == Some("(") {
                // A function type: `void (i32, ...) @f`.
                r.token();
                r.skip_to(")");
            }
            let direct = r.peek() == Some("@");
            r.token();
            let callee = if direct { r.name() } else { String::new() };
            r.expect("(");
            let mut args = Vec::new();
            while r.peek().is_some_and(|t| t != ")") {
                args.push(r.typed());
                r.expect(",");
            }
            Op::Call(callee, ty, args)
        }
        "extractelement" => {
            let (ty, v) = r.typed();
            r.expect(",");
            Op::Extract(ty, v, r.typed().1)
        }
        "insertelement" => {
            let (ty, v) = r.typed();
            r.expect(",");
            let x = r.typed().1;
            r.expect(",");
            Op::Insert(ty, v, x, r.typed().1)
        }
        "shufflevector" => {
            let (ty, a) = r.typed();
            r.expect(",");
            let b = r.typed().1;
            r.expect(",");
            Op::Shuffle(ty, a, b, r.typed().1)
        }
        "extractvalue" => {
            let (_, v) = r.typed();
            let mut path = Vec::new();
            while r.peek() == Some(",") {
                r.token();
                match r.token().and_then(|t| t.parse().ok()) {
                    Some(i) => path.push(i),
                    None => break,
                }
            }
            Op::ExtractValue(v, path)
        }
        "alloca" => Op::Alloca,
        _ => {
            // Floating point and the rest: the operands decide whether lanes differ.
            r.skip_flags();
            let ty = if matches!(word, "fcmp") { Ty::Int(1) } else { r.peek_ty() };
            let mut operands = Vec::new();
            while let Some(t) = r.token() {
                if t == "%" {
                    operands.push(Operand::Local(r.name()));
                }
            }
            Op::Opaque(ty, operands)
        }
    };
    Instruction { result, op, debug }
}

/// Splits a line into tokens: punctuation, words, `%` and `@` apart from their names.
struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Reader { text }
    }

    fn peek(&self) -> Option<&'a str> {
        Reader { text: self.text }.token()
    }

    fn token(&mut self) -> Option<&'a str> {
        let t = self.text.trim_start();
        let first = t.chars().next()?;
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '$' | '+');
        let length = if word(first) {
            t.find(|c| !word(c)).unwrap_or(t.len())
        } else if first == '"' {
            t[1..].find('"').map_or(t.len(), |p| p + 2)
        } else {
            first.len_utf8()
        };
        self.text = &t[length..];
        Some(&t[..length])
    }

    fn expect(&mut self, what: &str) -> bool {
        let found = self.peek() == Some(what);
        if found {
            self.token();
        }
        found
    }

    /// A name after `%` or `@`.
    fn name(&mut self) -> String {
        self.token().unwrap_or("").trim_matches('"').to_string()
    }

    fn skip_to(&mut self, close: &str) {
        let mut depth = 1;
        while let Some(t) = self.token() {
            match t {
                "(" => depth += 1,
                _ if t == close => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    fn skip_flags(&mut self) {
        while let Some(t) = self.peek() {
            let flag = matches!(
                t,
                "nuw"
                    | "nsw"
                    | "exact"
                    | "inbounds"
                    | "nusw"
                    | "disjoint"
                    | "nneg"
                    | "samesign"
                    | "fast"
                    | "nnan"
                    | "ninf"
                    | "nsz"
                    | "arcp"
                    | "contract"
                    | "afn"
                    | "reassoc"
                    | "volatile"
                    | "atomic"
                    | "weak"
                    | "ccc"
                    | "fastcc"
            );
            if !flag {
                return;
            }
            self.token();
        }
    }

    fn peek_ty(&self) -> Ty {
        Reader { text: self.text }.ty()
    }

    fn ty(&mut self) -> Ty {
        self.ty_at(0)
    }

    fn ty_at(&mut self, depth: usize) -> Ty {
        if depth > 64 {
            return Ty::Other;
        }
        match self.token() {
            Some("void") => Ty::Void,
            Some("half" | "bfloat") => Ty::Float(2),
            Some("float") => Ty::Float(4),
            Some("double") => Ty::Float(8),
            Some("ptr") => {
                if self.peek() == Some("addrspace") {
                    self.token();
                    self.expect("(");
                    self.skip_to(")");
                }
                Ty::Ptr
            }
            Some("%") => Ty::Named(self.name()),
            Some("<") if self.peek() == Some("{") => {
                self.token();
                let members = self.members(depth);
                self.expect(">");
                Ty::Struct(members, true)
            }
            Some(open @ ("<" | "[")) => {
                let n = self.token().and_then(|t| t.parse().ok()).unwrap_or(0);
                self.expect("x");
                let e = Box::new(self.ty_at(depth + 1));
                if open == "<" {
                    self.expect(">");
                    Ty::Vector(n, e)
                } else {
                    self.expect("]");
                    Ty::Array(n, e)
                }
            }
            Some("{") => Ty::Struct(self.members(depth), false),
            Some(t) if t.starts_with('i') => t[1..].parse().map_or(Ty::Other, Ty::Int),
            _ => Ty::Other,
        }
    }

    fn members(&mut self, depth: usize) -> Vec<Ty> {
        let mut members = Vec::new();
        while self.peek().is_some_and(|t| t != "}") && members.len() < 4096 {
            members.push(self.ty_at(depth + 1));
            self.expect(",");
        }
        self.expect("}");
        members
    }

    /// A type, attributes, and an operand.
    fn typed(&mut self) -> Typed {
        let ty = self.ty();
        loop {
            match self.peek() {
                Some(
                    "noundef" | "nonnull" | "nocapture" | "readonly" | "writeonly" | "readnone" | "noalias"
                    | "zeroext" | "signext" | "immarg" | "returned",
                ) => {
                    self.token();
                }
                Some("align") => {
                    self.token();
                    self.token();
                }
                Some(
                    "dereferenceable" | "dereferenceable_or_null" | "captures" | "range" | "byval" | "sret",
                ) => {
                    self.token();
                    if self.expect("(") {
                        self.skip_to(")");
                    }
                }
                _ => break,
            }
        }
        let v = self.operand(&ty);
        (ty, v)
    }

    fn operand(&mut self, ty: &Ty) -> Operand {
        match self.peek() {
            Some("%") => {
                self.token();
                Operand::Local(self.name())
            }
            Some("@") => {
                self.token();
                Operand::Global(self.name())
            }
            Some("true") => {
                self.token();
                Operand::Int(1)
            }
            Some("false" | "null" | "zeroinitializer") => {
                self.token();
                Operand::Zero
            }
            Some("<") if matches!(ty, Ty::Vector(..)) => {
                self.token();
                let mut parts = Vec::new();
                while self.peek().is_some_and(|t| t != ">") && parts.len() < 4096 {
                    parts.push(self.typed().1);
                    self.expect(",");
                }
                self.expect(">");
                Operand::Vector(parts)
            }
            Some("splat") => {
                self.token();
                self.expect("(");
                let v = self.typed().1;
                self.expect(")");
                match ty {
                    Ty::Vector(n, _) if *n <= 4096 => Operand::Vector(vec![v; *n as usize]),
                    _ => Operand::Other,
                }
            }
            Some("getelementptr") => {
                // A constant expression: its base is a global.
                self.token();
                self.skip_flags();
                if self.expect("(") {
                    let rest = self.text;
                    self.skip_to(")");
                    let global = rest.find('@').map(|p| Reader::new(&rest[p + 1..]).name());
                    return global.map_or(Operand::Other, Operand::Global);
                }
                Operand::Other
            }
            Some(t) => {
                self.token();
                match t.parse::<i64>() {
                    Ok(v) => Operand::Int(v),
                    Err(_) => match t.parse::<u64>() {
                        Ok(v) => Operand::Int(v as i64),
                        Err(_) => Operand::Other,
                    },
                }
            }
            None => Operand::Other,
        }
    }
}
