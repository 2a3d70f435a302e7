//! The structure of a schema: its objects as the statements that make them again, in an order in
//! which they can be run.
//!
//! The server's own deparsers write every name that is on the search path without its schema, and
//! all others with theirs. Asked with the schema alone as the search path, they say the same text
//! about two schemas that are made alike, and the text run with another schema as the path makes
//! that one like the first. No text is rewritten (`docs/design/structure.md`).

mod template;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

pub use self::template::Template;

use crate::name::SchemaName;
use crate::pg::{Row, identifier, literal, search_path};

const OBJECTS: &str = include_str!("objects.sql");
const DEPENDENCIES: &str = include_str!("dependencies.sql");

/// What one object is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Such as `table` or `foreign key`.
    pub kind: String,
    /// Its name, after that of its table where it has one.
    pub name: String,
    /// Whether it is made once the rows are there.
    pub is_after_data: bool,
    /// What makes it, the schema's own names without the schema.
    pub statements: Vec<String>,
}

impl Object {
    /// Whether it is but who owns something, or who may do what with it.
    fn is_privilege(&self) -> bool {
        let is_owner = |it: &str| it.starts_with("alter ") && it.contains(" owner to ");
        let is_grant = |it: &str| it.starts_with("grant ") || it.starts_with("revoke ");
        self.statements.iter().all(|it| is_owner(it) || is_grant(it))
    }
}

/// The objects of one schema, each after those it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Structure {
    /// In the order in which they can be made.
    pub objects: Vec<Object>,
    /// What is in the schema and not understood.
    pub unknown: Vec<String>,
}

/// Returns the statements that ask for `schema`'s structure. They are for the middle of a
/// transaction; the search path is another one afterwards, and nothing is compiled.
pub fn questions(schema: &SchemaName) -> [String; 3] {
    let path = literal(&search_path([schema.as_str()]));
    let fill = |sql: &str| {
        let sql = sql.replace("{schema}", &literal(schema.as_str()));
        sql.replace("{here}", HERE)
    };
    // In a large fleet the planner expects enough rows to have the statements compiled first: ten
    // seconds for what takes a hundredth of one.
    let settings =
        format!("select set_config('search_path', {path}, true), set_config('jit', 'off', true)");
    [settings, fill(OBJECTS), fill(DEPENDENCIES)]
}

/// Stands for the schema where a statement has to name it.
const HERE: &str = "\u{1}here\u{1}";

type Key = (String, String);

/// The statements of each object, with their places among each other; by the object's place.
type Drafts = BTreeMap<(bool, i64, String, String, Key), Vec<(i64, String)>>;

impl Structure {
    /// Returns what the rows of the second and the third of the [`questions`] say.
    pub fn of(objects: &[Row], dependencies: &[Row]) -> Self {
        let mut drafts: Drafts = BTreeMap::new();
        let mut unknown = Vec::new();
        for row in objects {
            if row.number(0) == Some(-1) {
                unknown.push(row.text(7).to_owned());
                continue;
            }
            let key = (row.text(4).to_owned(), row.text(5).to_owned());
            let order = (
                row.number(0) == Some(1),
                row.number(1).unwrap_or_default(),
                row.text(2).to_owned(),
                row.text(3).to_owned(),
                key,
            );
            let statement = (row.number(6).unwrap_or_default(), row.text(7).to_owned());
            drafts.entry(order).or_default().push(statement);
        }
        let mut needs: HashMap<Key, Vec<Key>> = HashMap::new();
        for row in dependencies {
            let key = |index| (row.text(index).to_owned(), row.text(index + 1).to_owned());
            needs.entry(key(0)).or_default().push(key(2));
        }
        unknown.sort();
        Self { objects: Order::new(drafts, needs).sorted(), unknown }
    }

    /// Returns the objects' statements for `schema`, which the search path has to be.
    pub fn statements(
        &self,
        schema: &SchemaName,
        is_after_data: bool,
    ) -> impl Iterator<Item = String> {
        let here = identifier(schema.as_str());
        let objects = self.objects.iter().filter(move |it| it.is_after_data == is_after_data);
        objects.flat_map(|it| &it.statements).map(move |it| it.replace(HERE, &here))
    }

    /// Returns it without a table and what belongs to it.
    pub fn without_table(mut self, table: &str) -> Self {
        let (part, grants) = (format!("{table}."), format!("table {table}"));
        self.objects.retain(|it| {
            let is_it = it.name == table && ["table", "relation"].contains(&it.kind.as_str());
            !is_it && !it.name.starts_with(&part) && it.name != grants
        });
        self
    }

    /// Returns it without the owners and grants that `made` has as well.
    pub fn without_privileges_of(mut self, made: &Self) -> Self {
        self.objects.retain(|it| !it.is_privilege() || !made.objects.contains(it));
        self
    }

    /// Returns it without owners and grants.
    pub fn without_privileges(mut self) -> Self {
        self.objects.retain(|it| !it.is_privilege());
        self
    }

    /// Names the objects that are not the same in both, each once.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let by_name = |it: &Self| {
            let mut all: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
            for object in &it.objects {
                let named = all.entry((object.kind.clone(), object.name.clone())).or_default();
                named.extend(object.statements.iter().cloned());
            }
            all
        };
        let (mine, theirs) = (by_name(self), by_name(other));
        let names: std::collections::BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        let differing = names.into_iter().filter(|it| mine.get(*it) != theirs.get(*it));
        differing.map(|(kind, name)| format!("{kind} `{name}`")).collect()
    }
}

/// Puts what is needed before what needs it; what is free to choose goes by section, kind and name,
/// so that two schemas that are alike come out alike.
struct Order {
    drafts: Vec<(Key, Object)>,
    by_key: HashMap<Key, Vec<usize>>,
    needs: HashMap<Key, Vec<Key>>,
    seen: HashSet<usize>,
    sorted: Vec<Object>,
}

impl Order {
    fn new(drafts: Drafts, needs: HashMap<Key, Vec<Key>>) -> Self {
        let mut all = Vec::new();
        let mut by_key: HashMap<Key, Vec<usize>> = HashMap::new();
        for ((is_after_data, _, kind, name, key), mut statements) in drafts {
            statements.sort();
            by_key.entry(key.clone()).or_default().push(all.len());
            let statements = statements.into_iter().map(|(_, statement)| statement).collect();
            all.push((key, Object { kind, name, is_after_data, statements }));
        }
        Self { drafts: all, by_key, needs, seen: HashSet::new(), sorted: Vec::new() }
    }

    fn sorted(mut self) -> Vec<Object> {
        for index in 0..self.drafts.len() {
            self.visit(index);
        }
        self.sorted
    }

    /// Without recursion: a long chain of views must not exhaust the stack.
    fn visit(&mut self, first: usize) {
        let mut stack = vec![(first, false)];
        while let Some((index, is_ready)) = stack.pop() {
            if is_ready {
                // A view by a primary key waits for it, and what is made of the view for both.
                let mut needed = self.needed(index).into_iter();
                if needed.any(|it| self.drafts[it].1.is_after_data) {
                    self.drafts[index].1.is_after_data = true;
                }
                self.sorted.push(self.drafts[index].1.clone());
                continue;
            }
            if !self.seen.insert(index) {
                continue;
            }
            stack.push((index, true));
            let mut needed = self.needed(index);
            needed.retain(|it| !self.seen.contains(it));
            needed.sort_unstable_by(|a, b| b.cmp(a));
            stack.extend(needed.into_iter().map(|it| (it, false)));
        }
    }

    fn needed(&self, index: usize) -> Vec<usize> {
        let needed = self.needs.get(&self.drafts[index].0).into_iter().flatten();
        let needed = needed.filter_map(|key| self.by_key.get(key)).flatten().copied();
        // Owners and the like share their object's key and wait for nobody.
        needed.filter(|it| self.makes(*it)).collect()
    }

    fn makes(&self, index: usize) -> bool {
        let first = self.drafts[index].1.statements.first();
        first.is_some_and(|it| !it.contains(" owner to "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_questions_are_asked_with_the_schema_alone_as_the_path_and_not_compiled() {
        let questions = questions(&SchemaName::registered("Eha"));
        insta::assert_snapshot!(questions[0], @r#"select set_config('search_path', '"Eha"', true), set_config('jit', 'off', true)"#);
        assert!(questions[1].contains("where nspname = 'Eha'"));
    }
}
