//! Answers for people: tables and lines. For programs: JSON as it came.

use std::collections::BTreeMap;

use serde_json::Value;

use super::requests::{DIFFERENCE, Shape};

pub fn print(data: &Value, shape: Shape, json: bool) {
    if json {
        println!("{data:#}");
        return;
    }
    match shape {
        Shape::One => print!("{}", lines(data)),
        Shape::List { columns, .. } => print!("{}", table(data, columns)),
    }
}

/// Every field that has a value, one a line.
fn lines(data: &Value) -> String {
    let fields: Vec<_> = data.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).collect();
    let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:widest$}  {}\n", text(value))).collect()
}

fn table(data: &Value, columns: &[&str]) -> String {
    let rows = data.as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = rows.map(|row| columns.iter().map(|name| cell(row, name)).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([columns[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let heading = columns.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(&heading).chain(&rows).map(|row: &Vec<String>| line(row, &widths)).collect()
}

fn cell(row: &Value, name: &str) -> String {
    if name == DIFFERENCE { difference(&row["before"], &row["after"]) } else { text(&row[name]) }
}

/// Each field that is other than before; of what is new or gone there is nothing to compare.
fn difference(before: &Value, after: &Value) -> String {
    if before.is_null() || after.is_null() {
        return "-".to_owned();
    }
    let (before, after) = (leaves(before), leaves(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let differs = names.filter(|name| before.get(*name) != after.get(*name));
    let shown = |of: &BTreeMap<String, String>, name| of.get(name).cloned().unwrap_or_else(|| "-".to_owned());
    let each = differs.map(|name| format!("{name} {} → {}", shown(&before, name), shown(&after, name)));
    each.collect::<Vec<_>>().join(", ")
}

/// Fields by name, those of inner objects too.
fn leaves(value: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        if value.is_object() {
            all.extend(leaves(value));
        } else {
            all.insert(name.clone(), text(value));
        }
    }
    all
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let pad = width - cell.chars().count();
        format!("{cell}{}", " ".repeat(pad))
    });
    format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_its_columns_below_each_other_and_a_field_without_value_is_a_dash() {
        let data = json!([{"id": "acme", "list": ["+1", "!+1900"]}, {"id": "x", "list": [], "other": 1}]);
        assert_eq!(table(&data, &["id", "list"]), "id    list\nacme  +1 !+1900\nx     -\n");
        assert_eq!(table(&json!([]), &["id"]), "id\n");
        let changes = json!([
            {"before": {"limits": {"legs": 2, "zone": "UTC"}, "list": ["+1"]}, "after": {"limits": {"legs": 4, "zone": "UTC"}, "closed_at": "x"}},
            {"before": null, "after": {"id": "x"}},
        ]);
        assert_eq!(table(&changes, &["difference"]), "difference\nlegs 2 → 4, list +1 → -, closed_at - → x\n-\n");
        assert_eq!(lines(&json!({"id": "acme", "legs": 2, "none": null})), "id    acme\nlegs  2\n");
    }
}
