//! Rows of a comparison as a terminal table.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use wgpu_marlin::measure::Row;

/// Rows of plain cells without lines.
pub(crate) fn plain(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_string() + "\n").collect();
    lines.concat()
}

/// A time in the unit that reads best.
pub(crate) fn time(ns: f64) -> String {
    match ns {
        t if t < 1e3 => format!("{t:.0} ns"),
        t if t < 1e6 => format!("{:.1} µs", t / 1e3),
        t if t < 1e9 => format!("{:.2} ms", t / 1e6),
        t => format!("{:.2} s", t / 1e9),
    }
}

/// A column: its header, and the cell of a row; `None` prints as a dash.
type Column = (&'static str, fn(&Row) -> Option<String>);

/// Figures, each shown only where some row has it.
const COLUMNS: [Column; 7] = [
    ("time", |r| r.time_ns.map(time)),
    ("GB/s", |r| r.gbps.map(|g| if g < 10.0 { format!("{g:.2}") } else { format!("{g:.0}") })),
    ("TFLOPS", |r| r.tflops.map(|t| format!("{t:.2}"))),
    ("of copy", |r| r.ceiling_fraction.map(|f| format!("{f:.2}"))),
    ("vs naive", |r| r.speedup_vs_naive.map(|s| format!("{s:.2}×"))),
    ("fetched/useful", |r| {
        r.fetched_bytes.map(|f| format!("{:.2}", f as f64 / r.useful_bytes.max(1) as f64))
    }),
    ("vs wgsl", |r| {
        r.fetched_vs_wgsl.map(|f| if (f - 1.0).abs() < 0.0005 { "same".into() } else { format!("{f:.3}×") })
    }),
];

/// The rows of one family and case.
pub(crate) fn comparison(rows: &[&Row]) -> String {
    let shown: Vec<Column> =
        COLUMNS.into_iter().filter(|(_, cell)| rows.iter().any(|r| cell(r).is_some())).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    let figures = shown.iter().map(|(name, _)| *name);
    let header = ["variant", "role", "code"].into_iter().chain(figures).chain(["max error / tolerance"]);
    table.set_header(header.map(Cell::new));
    let mut skipped: Vec<(&str, Vec<String>)> = Vec::new();
    for r in rows {
        if let Some(why) = &r.skipped {
            let name = format!("{} ({})", r.variant, r.code());
            match skipped.iter_mut().find(|(w, _)| w == why) {
                Some((_, names)) => names.push(name),
                None => skipped.push((why, vec![name])),
            }
            continue;
        }
        let mut cells = vec![Cell::new(&r.variant), Cell::new(r.role), Cell::new(r.code())];
        cells.extend(shown.iter().map(|(_, cell)| right(cell(r).unwrap_or_else(|| "–".into()))));
        cells.push(match &r.failure {
            Some(why) => Cell::new(format!("WRONG: {why}")).fg(Color::Red),
            None => Cell::new(error_cell(r)),
        });
        table.add_row(cells);
    }
    let mut lines: Vec<String> = Vec::new();
    if skipped.iter().map(|(_, names)| names.len()).sum::<usize>() < rows.len() {
        lines.extend(table.lines().map(|l| l.trim_end().to_string() + "\n"));
    }
    lines.extend(skipped.iter().map(|(why, names)| format!("skipped, {why}: {}\n", names.join(", "))));
    lines.concat()
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn error_cell(r: &Row) -> String {
    let sampled = if r.checked_elements < r.elements {
        format!(", {:.1} % of elements", 100.0 * r.checked_elements as f64 / r.elements as f64)
    } else {
        String::new()
    };
    match (r.max_err, r.tolerance) {
        (Some(0.0), _) => format!("exact{sampled}"),
        (Some(e), Some(t)) => format!("{e:.1e} / {t:.1e}{sampled}"),
        _ => format!("exact{sampled}"),
    }
}
