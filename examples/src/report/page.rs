//! The report as one page that needs nothing else.

use std::fmt::{self, Display};

use super::{
    ReportError,
    chart::{self, Bar},
    text::{Html, shorten, thousands},
    totals::{Group, Totals},
};

/// What a report page may load: nothing but the styles inside it.
///
/// The page says so itself; a server that sends its own policy along with a report should send
/// this one, because a stricter one takes the page's styles away.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// How many groups get a bar of their own.
const BARS: usize = 12;
/// How many groups the table shows.
const TABLE_ROWS: usize = 500;
/// How much of a group's name the table shows.
const NAME: usize = 80;

/// Renders the page.
pub(super) fn render(totals: &Totals) -> Result<String, ReportError> {
    let svg = chart::draw(&bars(totals))?;
    Ok(Page { totals, svg: &svg }.to_string())
}

struct Page<'a> {
    totals: &'a Totals,
    svg: &'a str,
}

impl Display for Page<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group_by, sum) = (column(&self.totals.group_by), column(&self.totals.sum));
        let (group_by, sum) = (Html(&group_by), Html(&sum));
        let css = include_str!("page.css");
        write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{CONTENT_SECURITY_POLICY}\">\n\
             <title>{sum} by {group_by}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<p class=\"kind\">Report</p>\n<h1><bdi>{sum}</bdi> by <bdi>{group_by}</bdi></h1>\n"
        )?;
        self.lead(out)?;
        out.write_str("</header>\n<dl>\n")?;
        self.figures(out)?;
        write!(
            out,
            "</dl>\n<section>\n<h2>Largest groups</h2>\n<div class=\"chart\" role=\"img\" \
             aria-label=\"Bar chart of {sum} by {group_by}; the table below has the numbers\">\n\
             {}</div>\n</section>\n<section>\n<h2>Totals</h2>\n",
            self.svg
        )?;
        self.table(out)?;
        out.write_str("</section>\n</main>\n</body>\n</html>\n")
    }
}

impl Page<'_> {
    fn lead(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.totals.groups.first() else { return Ok(()) };
        let (name, sum) = (name(first), thousands(&first.sum));
        write!(out, "<p><strong><bdi>{}</bdi></strong> comes first with {sum}", Html(&name))?;
        match self.share(first) {
            Some(share) => writeln!(out, ", {share:.1}% of the total.</p>"),
            None => out.write_str(".</p>\n"),
        }
    }

    fn figures(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self.totals;
        let mut figure =
            |label: &str, value: &str| writeln!(out, "<div><dt>{label}</dt><dd>{value}</dd></div>");
        figure("Total", &thousands(&totals.total))?;
        figure("Groups", &thousands(&totals.groups.len()))?;
        figure("Rows", &thousands(&totals.rows))?;
        match totals.empty_cells {
            0 => Ok(()),
            empty => figure("Rows without a number", &thousands(&empty)),
        }
    }

    fn table(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self.totals;
        let (group_by, sum) = (column(&totals.group_by), column(&totals.sum));
        write!(
            out,
            "<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\" class=\"number\">#</th>\
             <th scope=\"col\">{}</th><th scope=\"col\" class=\"number\">Rows</th>\
             <th scope=\"col\" class=\"number\">{}</th>\
             <th scope=\"col\" class=\"number\">Share</th></tr></thead>\n<tbody>\n",
            Html(&group_by),
            Html(&sum)
        )?;
        for (rank, group) in (1..).zip(totals.groups.iter().take(TABLE_ROWS)) {
            self.row(out, rank, group)?;
        }
        write!(
            out,
            "</tbody>\n<tfoot><tr><td></td><th scope=\"row\">Total</th>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td></td></tr></tfoot>\n\
             </table></div>\n",
            thousands(&totals.rows),
            thousands(&totals.total)
        )?;
        if totals.groups.len() > TABLE_ROWS {
            let all = thousands(&totals.groups.len());
            writeln!(
                out,
                "<p class=\"note\">These are the first {TABLE_ROWS} of {all} groups; the totals \
                 file (CSV) that comes with this report has them all.</p>"
            )?;
        }
        Ok(())
    }

    fn row(&self, out: &mut fmt::Formatter<'_>, rank: usize, group: &Group) -> fmt::Result {
        write!(
            out,
            "<tr><td class=\"number\">{rank}</td><th scope=\"row\"><bdi>{}</bdi></th>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td>",
            Html(&name(group)),
            thousands(&group.rows),
            thousands(&group.sum)
        )?;
        match self.share(group) {
            Some(share) => writeln!(
                out,
                "<td class=\"number share\" style=\"--share:{share:.1}%\">{share:.1}%</td></tr>"
            ),
            None => out.write_str("<td class=\"number\">–</td></tr>\n"),
        }
    }

    /// How many percent of the total a group has, if all groups are parts of it.
    fn share(&self, group: &Group) -> Option<f64> {
        let least = self.totals.groups.last()?.sum;
        let total = self.totals.total.approximate();
        (!least.is_negative() && total > 0.0).then(|| group.sum.approximate() / total * 100.0)
    }
}

/// The largest groups, and one bar for all others.
fn bars(totals: &Totals) -> Vec<Bar> {
    let shown = if totals.groups.len() <= BARS + 1 { BARS + 1 } else { BARS };
    let (largest, others) = totals.groups.split_at(shown.min(totals.groups.len()));
    let mut bars: Vec<_> = largest
        .iter()
        .map(|group| Bar { label: name(group), value: group.sum.approximate(), is_rest: false })
        .collect();
    if !others.is_empty() {
        bars.push(Bar {
            label: format!("{} other groups", thousands(&others.len())),
            value: others.iter().map(|group| group.sum.approximate()).sum(),
            is_rest: true,
        });
    }
    bars
}

fn name(group: &Group) -> String {
    if group.name.is_empty() { "(empty)".to_owned() } else { shorten(&group.name, NAME) }
}

fn column(name: &str) -> String {
    shorten(name, NAME)
}
