//! SARIF.

use serde_json::{Value, json};

use crate::audit::finding::{Label, Severity};
use crate::audit::report::Report;
use crate::audit::rules;

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
    let notifications: Vec<Value> = report
        .not_analysed()
        .map(|k| {
            let reason = k.reason.as_deref().unwrap_or_default();
            let mut place = json!({ "artifactLocation": { "uri": uri(&k.file) } });
            if let Some(line) = k.line {
                place["region"] = json!({ "startLine": line.max(1) });
            }
            json!({
                "level": "error",
                "descriptor": { "id": "not-analysed" },
                "message": { "text": format!("{} is not analysed: {reason}", k.name) },
                "locations": [{ "physicalLocation": place }],
            })
        })
        .collect();
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
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}
