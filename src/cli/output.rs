//! Answers for people: tables and lines. For programs: JSON as it came.

use serde_json::Value;

use super::requests::Shape;

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
    let rows: Vec<Vec<String>> = rows.map(|row| columns.iter().map(|name| text(&row[name])).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([columns[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let heading = columns.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(&heading).chain(&rows).map(|row: &Vec<String>| line(row, &widths)).collect()
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
        assert_eq!(lines(&json!({"id": "acme", "legs": 2, "none": null})), "id    acme\nlegs  2\n");
    }
}
