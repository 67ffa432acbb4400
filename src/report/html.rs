//! A comparison as one self-contained HTML page: a chart and a table per family and case.

use plotters::prelude::*;

use crate::measure::{Comparison, Row};

/// What stands above the tables.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The page's title.
    pub title: &'a str,
    /// Lines about device, driver and seed.
    pub facts: Vec<String>,
}

/// Why a page could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("chart of {chart}: {message}")]
pub struct ReportError {
    chart: String,
    message: String,
}

/// What a chart's bars show: times where there are any, else the traced traffic.
#[derive(Clone, Copy, PartialEq)]
enum Figure {
    Gbps,
    Tflops,
    Fetched,
}

impl Figure {
    fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Gbps => row.gbps,
            Self::Tflops => row.tflops,
            Self::Fetched => row.fetched_bytes.map(|f| f as f64 / row.useful_bytes.max(1) as f64),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Gbps => "useful GB/s (longer is better)",
            Self::Tflops => "TFLOPS (longer is better)",
            Self::Fetched => "bytes fetched per useful byte (shorter is better)",
        }
    }
}

/// The page as HTML text.
pub fn comparison_html(page: &Page<'_>, comparison: &Comparison) -> Result<String, ReportError> {
    Ok(body(page, comparison)? + "</body></html>\n")
}

/// The page, and below the tables what an audit found.
pub fn full_html(
    page: &Page<'_>,
    comparison: &Comparison,
    audit: &crate::audit::Report,
) -> Result<String, ReportError> {
    let findings = escape(&crate::audit::render::text(audit));
    let sites = escape(&crate::audit::render::sites(audit));
    Ok(body(page, comparison)?
        + &format!("<h2>Audit of the naive kernels</h2>\n<pre>{findings}</pre>\n")
        + &format!("<h2>Every access of them</h2>\n<pre>{sites}</pre>\n</body></html>\n"))
}

fn body(page: &Page<'_>, comparison: &Comparison) -> Result<String, ReportError> {
    let mut html = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.push_str(&format!("<title>{}</title>\n<style>{STYLE}</style></head><body>\n", escape(page.title)));
    html.push_str(&format!("<h1>{}</h1>\n", escape(page.title)));
    for fact in &page.facts {
        html.push_str(&format!("<p class=\"fact\">{}</p>\n", escape(fact)));
    }
    let mut rest: &[Row] = &comparison.rows;
    while let Some(first) = rest.first() {
        let n = rest.iter().take_while(|r| (&r.family, &r.case) == (&first.family, &first.case)).count();
        let (group, after) = rest.split_at(n);
        rest = after;
        html.push_str(&format!(
            "<h2>{} <small>{}</small></h2>\n",
            escape(&first.family),
            escape(&first.case)
        ));
        if group.len() > 1 {
            html.push_str(&chart(group, comparison.ceiling_gbps)?);
        }
        html.push_str(&table(group));
    }
    Ok(html)
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
color:#1d2733;background:#fff}h1{font-size:1.6rem}h2{margin-top:2.5rem;font-size:1.2rem}small{color:#667;\
font-weight:400}.fact{margin:.1rem 0;color:#445}table{border-collapse:collapse;width:100%;font-size:13px;\
font-variant-numeric:tabular-nums}th,td{padding:.25rem .6rem;border-bottom:1px solid #e3e7ec;text-align:right;\
white-space:nowrap}th:nth-child(-n+3),td:nth-child(-n+3),th:last-child,td:last-child{text-align:left}\
td:last-child{white-space:normal}tr.wrong td{color:#b3261e}tr.skipped td{color:#889}svg{max-width:100%;height:auto}";

fn table(rows: &[Row]) -> String {
    let mut html = String::from(
        "<table><thead><tr><th>variant</th><th>role</th><th>code</th><th>time</th><th>GB/s</th><th>TFLOPS</th>\
         <th>of copy</th><th>vs naive</th><th>fetched/useful</th><th>max error / tolerance</th></tr></thead>\n<tbody>\n",
    );
    for r in rows {
        let dash = |v: Option<String>| v.unwrap_or_else(|| "–".into());
        let class = match (&r.skipped, r.verified) {
            (Some(_), _) => "skipped",
            (None, false) => "wrong",
            _ => "right",
        };
        let last = match (&r.skipped, &r.failure, r.max_err.zip(r.tolerance)) {
            (Some(why), _, _) => format!("skipped: {}", escape(why)),
            (_, Some(why), _) => format!("wrong: {}", escape(why)),
            (_, _, Some((err, bound))) if err > 0.0 => format!("{err:.1e} / {bound:.1e}"),
            _ => "exact".into(),
        };
        html.push_str(&format!(
            "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{last}</td></tr>\n",
            escape(&r.variant),
            r.role,
            r.code(),
            dash(r.time_ns.map(|t| format!("{:.1} µs", t / 1e3))),
            dash(r.gbps.map(|g| format!("{g:.1}"))),
            dash(r.tflops.map(|t| format!("{t:.2}"))),
            dash(r.ceiling_fraction.map(|f| format!("{f:.2}"))),
            dash(r.speedup_vs_naive.map(|s| format!("{s:.2}×"))),
            dash(Figure::Fetched.of(r).map(|f| format!("{f:.2}"))),
        ));
    }
    html + "</tbody></table>\n"
}

fn color(role: &str) -> RGBColor {
    match role {
        "naive" => RGBColor(0xC2, 0x4E, 0x3A),
        "advised" => RGBColor(0xD9, 0x9A, 0x2B),
        "optimized" => RGBColor(0x2E, 0x7D, 0x5B),
        _ => RGBColor(0x5B, 0x6B, 0x7F),
    }
}

const BAR_PX: u32 = 22;
const WIDTH_PX: u32 = 960;
const LABEL_PX: i32 = 260;
const TOP_PX: u32 = 26;

/// Horizontal bars, one a row, colored by role; a line where the copy ceiling is.
fn chart(rows: &[Row], ceiling_gbps: Option<f64>) -> Result<String, ReportError> {
    let count = |f: Figure| rows.iter().filter(|r| f.of(r).is_some()).count();
    let figure = if count(Figure::Tflops) > 0 {
        Figure::Tflops
    } else if count(Figure::Gbps) > 0 {
        Figure::Gbps
    } else {
        Figure::Fetched
    };
    let bars: Vec<(&Row, f64)> = rows.iter().filter_map(|r| Some((r, figure.of(r)?))).collect();
    if bars.is_empty() {
        return Ok(String::new());
    }
    // Workgroup-memory rates are not shares of the copy: they would squash the other bars.
    let ceiling = ceiling_gbps
        .filter(|_| figure == Figure::Gbps && bars.iter().any(|(r, _)| r.ceiling_fraction.is_some()));
    let most = bars.iter().map(|b| b.1).chain(ceiling).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP_PX + BAR_PX * bars.len() as u32 + 8;
    let scale = f64::from(WIDTH_PX as i32 - LABEL_PX - 80) / most;
    let mut svg = String::new();
    {
        let name = format!("{} {}", rows[0].family, rows[0].case);
        let fail = |e: &dyn std::fmt::Display| ReportError { chart: name.clone(), message: e.to_string() };
        let area = SVGBackend::with_string(&mut svg, (WIDTH_PX, height)).into_drawing_area();
        let text = |size: i32| ("sans-serif", size).into_font().color(&RGBColor(0x1D, 0x27, 0x33));
        area.draw_text(figure.label(), &text(13), (LABEL_PX, 4)).map_err(|e| fail(&e))?;
        for (i, (row, value)) in bars.iter().enumerate() {
            let y = (TOP_PX + BAR_PX * i as u32) as i32;
            let end = LABEL_PX + (value * scale) as i32;
            let label = format!("{}  {}", row.variant, row.code());
            area.draw_text(&label, &text(13), (4, y + 4)).map_err(|e| fail(&e))?;
            let bar = Rectangle::new(
                [(LABEL_PX, y + 3), (end.max(LABEL_PX + 1), y + BAR_PX as i32 - 3)],
                color(row.role).filled(),
            );
            area.draw(&bar).map_err(|e| fail(&e))?;
            let figure = if *value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
            area.draw_text(&figure, &text(12), (end + 6, y + 4)).map_err(|e| fail(&e))?;
        }
        if let Some(c) = ceiling {
            let x = LABEL_PX + (c * scale) as i32;
            let line = PathElement::new(vec![(x, TOP_PX as i32 - 4), (x, height as i32 - 4)], BLACK.mix(0.6));
            area.draw(&line).map_err(|e| fail(&e))?;
            area.draw_text("copy", &text(11), (x - 12, TOP_PX as i32 - 16)).map_err(|e| fail(&e))?;
        }
        area.present().map_err(|e| fail(&e))?;
    }
    Ok(svg)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: &str, gbps: Option<f64>, failure: Option<&str>) -> Row {
        Row {
            family: "f<".into(),
            variant: variant.into(),
            role: "naive",
            source: "wgsl",
            checks: "checked",
            compile_options: String::new(),
            case: "c".into(),
            device: "d".into(),
            verified: failure.is_none(),
            failure: failure.map(str::to_string),
            checked_elements: 1,
            elements: 1,
            max_err: Some(0.0),
            tolerance: Some(0.0),
            time_ns: gbps.map(|g| 1e3 / g),
            timing_method: None,
            samples: 3,
            useful_bytes: 1000,
            fetched_bytes: None,
            fetched_vs_wgsl: None,
            gbps,
            ceiling_fraction: gbps.map(|g| g / 100.0),
            tflops: None,
            speedup_vs_naive: None,
            skipped: None,
        }
    }

    #[test]
    fn page_holds_every_row_and_escapes() {
        let rows = vec![row("a", Some(50.0), None), row("b", None, Some("1 < 2"))];
        let comparison = Comparison { rows, ceiling_gbps: Some(100.0) };
        let page = Page { title: "t & u", facts: vec!["x".into()] };
        let html = comparison_html(&page, &comparison).unwrap();
        assert!(html.contains("t &amp; u") && html.contains("f&lt;") && html.contains("wrong: 1 &lt; 2"));
        assert!(html.contains("<svg") && html.contains(">copy") | html.contains("copy\n"));
        assert_eq!(html.matches("<tr class").count(), 2);
    }
}
