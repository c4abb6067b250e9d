//! Reading of a mapping that [`super::check`] has looked at.

use super::{Field, Object};
use crate::node::{Cursor, Value};

/// A mapping and its table. A value of the wrong shape reads as absent: it
/// has been reported already.
#[derive(Clone)]
pub struct Fields<'a> {
    /// The mapping.
    pub cursor: Cursor<'a>,
    object: &'static Object,
}

impl<'a> Fields<'a> {
    /// The fields of a mapping.
    pub fn new(cursor: Cursor<'a>, object: &'static Object) -> Self {
        Self { cursor, object }
    }

    /// The value of a field; none where the table lacks it.
    pub fn get(&self, name: &str) -> Option<Cursor<'a>> {
        let field: Option<&Field> = self.object.field(name);
        debug_assert!(field.is_some(), "{} has no field {name} in its table", self.object.name);
        field.and_then(|field| self.cursor.get(field.name))
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.node.as_str()
    }

    /// A text of its own, empty where there is none.
    pub fn owned(&self, name: &str) -> Box<str> {
        self.text(name).unwrap_or_default().into()
    }

    /// A boolean.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.node.as_bool()
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name)?.node.value {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    /// A list of texts; none where the field is absent.
    pub fn texts(&self, name: &str) -> Option<Vec<Box<str>>> {
        let list = self.get(name)?;
        Some(list.items().filter_map(|item| item.node.as_str().map(Into::into)).collect())
    }

    /// A mapping of texts; none where the field is absent.
    pub fn text_map(&self, name: &str) -> Option<Vec<(Box<str>, Box<str>)>> {
        let map = self.get(name)?;
        let pair = |(entry, value): (&crate::node::Entry, Cursor<'a>)| {
            Some((entry.key.clone(), value.node.as_str()?.into()))
        };
        Some(map.entries().filter_map(pair).collect())
    }

    /// A nested mapping with its own table.
    pub fn object(&self, name: &str, object: &'static Object) -> Option<Fields<'a>> {
        let cursor = self.get(name)?;
        cursor.node.as_map().is_some().then(|| Fields::new(cursor, object))
    }

    /// A list of mappings; none where the field is absent.
    pub fn objects(&self, name: &str, object: &'static Object) -> Option<Vec<Fields<'a>>> {
        let list = self.get(name)?;
        let objects = list.items().filter(|item| item.node.as_map().is_some());
        Some(objects.map(|item| Fields::new(item, object)).collect())
    }
}
