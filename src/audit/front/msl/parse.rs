//! A reader of textual LLVM IR.

use std::cell::RefCell;
use std::collections::HashMap;

use super::ir::{Block, End, Function, Instruction, Name, Op, Operand, Ty, Typed};
use crate::metal::dbg_id;

/// The names of a function, numbered as they come.
#[derive(Default)]
pub(super) struct Names {
    numbers: RefCell<HashMap<String, Name>>,
}

impl Names {
    fn of(&self, text: &str) -> Name {
        let mut numbers = self.numbers.borrow_mut();
        if let Some(&n) = numbers.get(text) {
            return n;
        }
        let n = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        numbers.insert(text.to_string(), n);
        n
    }

    fn into_texts(self) -> Vec<String> {
        let mut all: Vec<(String, Name)> = self.numbers.into_inner().into_iter().collect();
        all.sort_unstable_by_key(|(_, n)| *n);
        all.into_iter().map(|(text, _)| text).collect()
    }
}

/// A function from its first line and its body.
pub(super) fn function(header: &str, body: &[&str]) -> Option<(String, Function)> {
    let at = header.find('@')?;
    let names = Names::default();
    let mut r = Reader::new(&header[at + 1..], &names);
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
            "%" => params.push(r.local()),
            _ => {}
        }
    }
    let mut blocks: Vec<Block> = Vec::new();
    let mut label = names.of(&params.len().to_string());
    let mut code = Vec::new();
    let mut lines = body.iter();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if !line.starts_with(' ') {
            // `name:` or `"name":`
            if let Some(colon) = line.find(':') {
                label = names.of(line[..colon].trim_matches('"'));
            }
            continue;
        }
        let line = line.trim_start();
        if line.starts_with("#dbg") {
            continue;
        }
        let mut r = Reader::new(line, &names);
        let first = r.peek();
        let end = match first {
            Some("ret" | "unreachable" | "resume") => Some(End::Return),
            Some("br") => {
                r.token();
                if r.peek() == Some("label") {
                    r.token();
                    r.expect("%");
                    Some(End::Jump(r.local()))
                } else {
                    let (_, c) = r.typed();
                    let mut labels = Vec::new();
                    while let Some(t) = r.token() {
                        if t == "%" && labels.len() < 2 {
                            labels.push(r.local());
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
                let default = r.local();
                let mut cases = Vec::new();
                for l in lines.by_ref() {
                    let l = l.trim();
                    if l.starts_with(']') {
                        break;
                    }
                    let mut r = Reader::new(l, &names);
                    if let (_, Operand::Int(v)) = r.typed() {
                        r.expect(",");
                        r.expect("label");
                        r.expect("%");
                        cases.push((v, r.local()));
                    }
                }
                Some(End::Switch(v, default, cases))
            }
            _ => None,
        };
        match end {
            Some(end) => blocks.push(Block { label, code: std::mem::take(&mut code), end }),
            None => code.push(instruction(line, &names)),
        }
    }
    Some((name, Function { params, blocks, names: names.into_texts() }))
}

fn instruction(line: &str, names: &Names) -> Instruction {
    let debug = dbg_id(line);
    let mut r = Reader::new(line, names);
    let mut result = None;
    if r.peek() == Some("%") {
        r.token();
        result = Some(r.local());
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
                incoming.push((v, r.local()));
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
                    operands.push(Operand::Local(r.local()));
                }
            }
            Op::Opaque(ty, operands)
        }
    };
    Instruction { result, op, debug }
}

/// Splits a line into tokens: punctuation, words, `%` and `@` apart from their names.
pub(super) struct Reader<'a> {
    text: &'a str,
    names: &'a Names,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, names: &'a Names) -> Self {
        Reader { text, names }
    }

    /// A name after `%`.
    fn local(&mut self) -> Name {
        let text = self.token().unwrap_or("").trim_matches('"');
        self.names.of(text)
    }

    fn peek(&self) -> Option<&'a str> {
        Reader { text: self.text, names: self.names }.token()
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

    /// A global's or a type's name.
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
        Reader { text: self.text, names: self.names }.ty()
    }

    pub(super) fn ty(&mut self) -> Ty {
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
                Operand::Local(self.local())
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
                    let global = rest.find('@').map(|p| Reader::new(&rest[p + 1..], self.names).name());
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
