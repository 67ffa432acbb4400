//! Reports as text, SARIF and GitHub annotations. JSON is the report itself.

use codespan_reporting::diagnostic::{Diagnostic, Label as Mark, Severity as Level};
use codespan_reporting::files::SimpleFiles;
use codespan_reporting::term;
use serde_json::{Value, json};

use super::finding::{Finding, Label, Severity};
use super::report::Report;
use super::rules::{self, number};

/// Findings in rustc's manner, then a summary per kernel.
pub fn text(report: &Report) -> String {
    let mut files = SimpleFiles::new();
    let mut ids = std::collections::HashMap::new();
    for (name, source) in &report.sources {
        ids.insert(name.as_str(), files.add(name.as_str(), source.as_str()));
    }
    let config = term::Config::default();
    let mut out = String::new();
    for f in &report.findings {
        let level = match f.severity {
            Severity::Info => Level::Note,
            Severity::Warning => Level::Warning,
            Severity::Error => Level::Error,
        };
        let mut diagnostic = Diagnostic::new(level).with_code(f.code).with_message(&f.message);
        let mut elsewhere = Vec::new();
        for l in &f.labels {
            let range = ids.get(l.file.as_str()).and_then(|_| byte_range(&report.sources[&l.file], l));
            match (ids.get(l.file.as_str()), range) {
                (Some(&id), Some(range)) => {
                    let mark = if l.primary { Mark::primary(id, range) } else { Mark::secondary(id, range) };
                    diagnostic.labels.push(mark.with_message(&l.message));
                }
                _ => elsewhere.push(format!("at {}:{}:{} {}", l.file, l.line, l.column, l.message)),
            }
        }
        diagnostic.notes = elsewhere;
        diagnostic.notes.extend(f.notes.iter().cloned());
        if !f.kernel.is_empty() {
            diagnostic
                .notes
                .push(format!("in kernel `{}`, confidence: {:?}", f.kernel, f.confidence).to_lowercase());
        }
        match term::emit_into_string(&config, &files, &diagnostic) {
            Ok(s) => out.push_str(&s),
            Err(_) => out.push_str(&format!("{}: {}\n", f.code, f.message)),
        }
        out.push('\n');
    }
    out.push_str(&summary(report));
    out
}

/// "1 note", "2 notes", "2 accesses".
fn plural(n: usize, what: &str) -> String {
    let end = match (n, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{n} {what}{end}")
}

impl Report {
    /// One line per kernel, worst first, and the totals.
    pub fn summary(&self) -> String {
        summary(self)
    }
}

fn summary(report: &Report) -> String {
    let mut out = String::new();
    let count = |k: &super::report::Kernel, s: Severity| {
        report
            .findings
            .iter()
            .filter(|f| f.kernel == k.name && f.kernel_file == k.file && f.severity == s)
            .count()
    };
    let mut rows: Vec<_> = report
        .kernels
        .iter()
        .map(|k| (count(k, Severity::Error), count(k, Severity::Warning), count(k, Severity::Info), k))
        .collect();
    rows.sort_by_key(|r| std::cmp::Reverse((r.0, r.1, r.2)));
    for (_, warnings, infos, k) in &rows {
        match &k.reason {
            Some(reason) => out.push_str(&format!("{}: {}: not analysed: {reason}\n", k.file, k.name)),
            None => out.push_str(&format!(
                "{}: {}: {}, {} unknown, {}, {}\n",
                k.file,
                k.name,
                plural(k.accesses, "access"),
                k.unknown,
                plural(*warnings, "warning"),
                plural(*infos, "note"),
            )),
        }
    }
    let total: usize = report.kernels.iter().map(|k| k.accesses).sum();
    let unknown: usize = report.kernels.iter().map(|k| k.unknown).sum();
    let skipped = report.kernels.iter().filter(|k| !k.analysed).count();
    let warnings = report.findings.iter().filter(|f| f.severity >= Severity::Warning).count();
    out.push_str(&format!(
        "{}, {skipped} not analysed; {}, {unknown} unknown; {}, {}\n",
        plural(report.kernels.len(), "kernel"),
        plural(total, "access"),
        plural(warnings, "warning"),
        plural(report.findings.len() - warnings, "note"),
    ));
    out
}

/// Every access as a line.
pub fn sites(report: &Report) -> String {
    let mut out = String::new();
    for s in &report.sites {
        let n = |v: Option<f64>| v.map_or_else(|| "?".into(), number);
        out.push_str(
            &format!(
                "{}:{}:{} {} {:?} {:?} {} B/lane, {} lanes: {}",
                s.file,
                s.line,
                s.column,
                s.buffer,
                s.space,
                s.op,
                s.bytes_per_lane,
                n(s.active_lanes),
                s.pattern.name(),
            )
            .to_string(),
        );
        match (&s.stride_symbol, s.stride_bytes) {
            (Some(symbol), _) => out.push_str(&format!(" ({symbol} B)")),
            (None, Some(b)) => out.push_str(&format!(" ({b} B)")),
            _ => {}
        }
        out.push_str(&format!(
            "; blocks of 32/64/128 B: {}/{}/{}, aligned {}/{}/{}; useful {} B of {} B\n",
            n(s.blocks32),
            n(s.blocks64),
            n(s.blocks128),
            n(s.blocks32_if_aligned),
            n(s.blocks64_if_aligned),
            n(s.blocks128_if_aligned),
            n(s.useful_bytes),
            n(s.fetched_bytes),
        ));
    }
    out
}

/// Every traced access: the static counts above those of the trace.
pub fn traced(report: &Report) -> String {
    let mut out = String::new();
    let n = |v: Option<f64>| v.map_or_else(|| "?".into(), number);
    let (mut exact, mut same) = (0usize, 0usize);
    for s in &report.sites {
        let Some(t) = &s.traced else { continue };
        let requests = s.traffic.map_or_else(|| "?".into(), |t| t.requests.to_string());
        let verdict = match t.agrees {
            Some(true) => "the same".into(),
            Some(false) => "DIFFERENT: an error of marlin".into(),
            None => format!("the static count is not exact: {}", s.assumptions.join("; ")),
        };
        exact += usize::from(t.agrees.is_some());
        same += usize::from(t.agrees == Some(true));
        out.push_str(&format!(
            "{}:{}:{} {} {:?} {:?} {} B/lane, {}\n",
            s.file,
            s.line,
            s.column,
            s.buffer,
            s.space,
            s.op,
            s.bytes_per_lane,
            s.pattern.name(),
        ));
        out.push_str(&format!(
            "  static: {requests} requests of {} lanes; blocks of 32/64/128 B: {}/{}/{}; useful {} B\n",
            n(s.active_lanes),
            n(s.blocks32),
            n(s.blocks64),
            n(s.blocks128),
            n(s.useful_bytes),
        ));
        out.push_str(&format!(
            "  traced: {} requests of {} lanes; blocks of 32/64/128 B: {}/{}/{}; useful {} B: {verdict}\n",
            t.requests,
            n(t.active_lanes),
            n(t.blocks32),
            n(t.blocks64),
            n(t.blocks128),
            n(t.useful_bytes),
        ));
    }
    let total = report.sites.len();
    out.push_str(&format!("{total} accesses; {exact} static counts claim to be exact, {same} of them are\n"));
    out
}

fn byte_range(source: &str, l: &Label) -> Option<std::ops::Range<usize>> {
    let line =
        source.split_inclusive('\n').take(l.line.saturating_sub(1) as usize).map(str::len).sum::<usize>();
    let start = line + l.column.saturating_sub(1) as usize;
    let rest = source.get(start..)?;
    let on_line = rest.lines().next().map_or(0, str::len);
    let end = start + (l.length as usize).min(on_line).max(usize::from(on_line > 0));
    source.is_char_boundary(end).then_some(start..end)
}

/// GitHub workflow commands, one per finding.
pub fn github(report: &Report) -> String {
    // Properties and messages escape differently.
    let data = |s: &str| s.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |s: &str| data(s).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for f in &report.findings {
        let command = match f.severity {
            Severity::Info => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let mut message = f.message.clone();
        for n in &f.notes {
            message.push('\n');
            message.push_str(n);
        }
        let place = f.place().map_or_else(String::new, |l| {
            format!(
                "file={},line={},col={},endColumn={},",
                property(&l.file),
                l.line,
                l.column,
                l.column + l.length
            )
        });
        out.push_str(&format!("::{command} {place}title={}::{}\n", property(f.code), data(&message)));
    }
    out
}

/// SARIF 2.1.0.
pub fn sarif(report: &Report) -> Value {
    let uri = |s: &str| {
        let mut out = String::new();
        for b in s.replace('\\', "/").bytes() {
            if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) {
                out.push(char::from(b));
            } else {
                out.push_str(&format!("%{b:02X}"));
            }
        }
        out
    };
    let location = |l: &Label| {
        let mut v = json!({
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&l.file) },
                "region": {
                    "startLine": l.line.max(1),
                    "startColumn": l.column.max(1),
                    "endColumn": l.column.max(1) + l.length.max(1),
                },
            },
        });
        if !l.message.is_empty() {
            v["message"] = json!({ "text": l.message });
        }
        v
    };
    let results: Vec<Value> = report
        .findings
        .iter()
        .map(|f| {
            let level = match f.severity {
                Severity::Info => "note",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            let mut text = f.message.clone();
            for n in &f.notes {
                text.push('\n');
                text.push_str(n);
            }
            let primary: Vec<Value> = f.place().map(&location).into_iter().collect();
            let related: Vec<Value> = f.labels.iter().filter(|l| !l.primary).map(&location).collect();
            let mut result = json!({
                "ruleId": f.code,
                "level": level,
                "message": { "text": text },
                "locations": primary,
                "properties": { "confidence": f.confidence, "kernel": f.kernel },
            });
            if !related.is_empty() {
                result["relatedLocations"] = json!(related);
            }
            result
        })
        .collect();
    let mut descriptors: Vec<Value> = rules::all()
        .iter()
        .map(|r| {
            json!({
                "id": r.name,
                "shortDescription": { "text": r.what },
                "fullDescription": { "text": r.why },
                "help": { "text": r.page() },
            })
        })
        .collect();
    descriptors.push(json!({
        "id": "unused-suppression",
        "shortDescription": { "text": "A suppression that suppresses nothing." },
    }));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "marlin",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": descriptors,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A finding's name in a baseline: no line numbers, so that it survives edits elsewhere in the file.
pub(crate) fn fingerprint(f: &Finding, report: &Report) -> String {
    let place = f.place();
    let line = place
        .and_then(|l| report.sources.get(&l.file)?.lines().nth(l.line.saturating_sub(1) as usize))
        .unwrap_or_default();
    let file = place.map_or("", |l| l.file.as_str());
    format!("{}|{file}|{}|{}", f.code, f.kernel, line.split_whitespace().collect::<Vec<_>>().join(" "))
}
