//! Tenants in a file: CSV with a header line, or a JSON object a line.

use std::path::Path;

use serde_json::Value;

use super::error::CommandError;
use super::selection::read_text;
use super::text::count;
use crate::name::{Hostname, SchemaName};
use crate::tenant::{Names, NewTenant};

/// A row of the file: its line, and the tenant or what is wrong with it.
pub(crate) struct TenantRow {
    pub(crate) line: usize,
    /// What the row says its schema is, as it stands there.
    pub(crate) schema: String,
    pub(crate) tenant: Result<NewTenant, String>,
}

type Fields = Vec<(String, Option<String>)>;

/// A line's number, and its fields or what is wrong with it.
type Line = (usize, Result<Fields, String>);

/// Returns the rows of a file, `-` being stdin.
///
/// An empty cell of a CSV file is a value not given, so that the column's default holds; `null` in
/// JSON is NULL.
pub(crate) fn read(path: &Path, names: &Names) -> Result<Vec<TenantRow>, CommandError> {
    let text = read_text(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let rows = match text.trim_start().starts_with('{') {
        true => json_lines(text),
        false => csv(path, text, names)?,
    };
    Ok(rows.into_iter().map(|(line, fields)| row(line, fields, names)).collect())
}

fn csv(path: &Path, text: &str, names: &Names) -> Result<Vec<Line>, CommandError> {
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let column = &names.schema_name;
    let wrong = |what: String| CommandError::Usage {
        message: format!("`{}` {what}", path.display()),
        hint: format!("its first line names the columns: `{column},name,domain`"),
    };
    let unreadable = |error: csv::Error| wrong(format!("cannot be read as CSV: {error}"));
    let header = reader.headers().map_err(unreadable)?.clone();
    if !text.trim().is_empty() && !header.iter().any(|it| is_schema(it, names)) {
        return Err(wrong(format!("has no column `{column}`")));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let fields = match record.len() == header.len() {
            true => Ok(cells(&header, &record)),
            false => Err(format!(
                "it has {}, and the header {}",
                count(record.len(), "cell"),
                header.len()
            )),
        };
        rows.push((line, fields));
    }
    Ok(rows)
}

fn cells(header: &csv::StringRecord, record: &csv::StringRecord) -> Fields {
    let cells = header.iter().zip(record).filter(|(_, cell)| !cell.is_empty());
    cells.map(|(name, cell)| (name.to_owned(), Some(cell.to_owned()))).collect()
}

fn json_lines(text: &str) -> Vec<Line> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |line: &str| match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object.into_iter().flat_map(fields).collect()),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        Err(error) => Err(format!("it is not JSON from column {} on", error.column())),
    };
    lines.map(|(index, line)| (index + 1, read(line))).collect()
}

/// Returns a member of an object as fields: a list gives several.
fn fields((name, value): (String, Value)) -> Fields {
    match value {
        Value::Array(values) => values.into_iter().map(|it| (name.clone(), scalar(it))).collect(),
        value => vec![(name, scalar(value))],
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn row(line: usize, fields: Result<Fields, String>, names: &Names) -> TenantRow {
    let schema = fields.as_ref().ok().and_then(|fields| {
        let field = fields.iter().find(|(name, _)| is_schema(name, names));
        field.and_then(|(_, value)| value.clone())
    });
    TenantRow {
        line,
        schema: schema.unwrap_or_default(),
        tenant: fields.and_then(|fields| tenant(fields, names)),
    }
}

fn is_schema(name: &str, names: &Names) -> bool {
    name == "schema" || name == names.schema_name
}

fn tenant(fields: Fields, names: &Names) -> Result<NewTenant, String> {
    let (mut schema, mut domains, mut values) = (None, Vec::new(), Vec::new());
    for (name, value) in fields {
        match name.as_str() {
            it if is_schema(it, names) => schema = value,
            "domain" | "domains" => {
                let hosts = value.unwrap_or_default();
                for host in hosts.split([' ', ';']).filter(|it| !it.is_empty()) {
                    domains.push(host.parse::<Hostname>().map_err(|error| error.to_string())?);
                }
            }
            _ => values.push((name, value)),
        }
    }
    let schema = schema.ok_or("it names no schema")?;
    let schema = SchemaName::tenant(&schema, names.shared_schema.as_str());
    let schema = schema.map_err(|error| error.to_string())?;
    Ok(NewTenant { schema, values, domains })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_str(text: &str) -> Vec<TenantRow> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path(), &Names::default()).unwrap()
    }

    #[test]
    fn an_empty_cell_leaves_the_default() {
        let rows = read_str("schema_name,name,paid_until,domain\nacme,Acme,,acme.example.com\n");
        let tenant = rows[0].tenant.as_ref().unwrap();
        assert_eq!(tenant.values, [("name".to_owned(), Some("Acme".to_owned()))]);
        assert_eq!(tenant.domains[0].as_str(), "acme.example.com");
    }

    #[test]
    fn json_and_csv_say_the_same() {
        let csv = read_str("schema,on_trial,domains\nacme,true,a.example b.example\n");
        let json =
            read_str(r#"{"schema":"acme","on_trial":true,"domains":["a.example","b.example"]}"#);
        assert_eq!(csv[0].tenant, json[0].tenant);
    }

    #[test]
    fn a_bad_row_is_named_and_the_others_are_read() {
        let rows = read_str("schema,name\npg_x,X\nacme,A,B\nglobex,G\n");
        let read: Vec<_> = rows.iter().map(|row| (row.line, row.tenant.is_ok())).collect();
        assert_eq!(read, [(2, false), (3, false), (4, true)]);
    }
}
