//! Parses one ConfigMap from the API server's JSON into an [`Object`]. Other fields are skipped, whatever their depth or content. An object
//! that cannot be parsed is refused alone, by its name.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::model::input::request::Object;

/// One ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub object: Object,
}

/// One event of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Set(Item),
    Deleted(Item),
    /// All events up to this version have been delivered.
    Bookmark(String),
    /// The server ends the watch with an error.
    Failed {
        code: u16,
        message: String,
    },
    /// The event cannot be parsed and names no object.
    Unknown(String),
}

/// The fields of an object parsed so far.
#[derive(Default)]
struct Draft {
    item: Item,
    /// Parse only the name, because the rest of the object is invalid.
    only_name: bool,
    code: u16,
    message: String,
}

#[derive(Default)]
struct Line {
    kind: String,
    draft: Draft,
}

/// Parses one item of a list. The error says why not even its name can be parsed.
pub(super) fn item(text: &[u8]) -> Result<Item, String> {
    let mut draft = Draft::default();
    let error = fill(text, &mut draft).err();
    if error.is_some() {
        draft = Draft::name();
        // Keeps whatever is parsed before the error.
        let _ = fill(text, &mut draft);
    }
    draft.finish(error)
}

/// Parses one line of a watch.
pub(super) fn event(text: &[u8]) -> Event {
    let mut line = Line::default();
    let error = fill(text, &mut line).err();
    if error.is_some() {
        line.draft = Draft::name();
        let _ = fill(text, &mut line);
    }
    let Line { kind, draft } = line;
    match kind.as_str() {
        "BOOKMARK" => Event::Bookmark(draft.item.version),
        "ERROR" => Event::Failed {
            code: draft.code,
            message: draft.message,
        },
        "ADDED" | "MODIFIED" => draft.finish(error).map_or_else(Event::Unknown, Event::Set),
        // Only the name of a deleted object matters.
        "DELETED" => draft
            .finish(error)
            .map_or_else(Event::Unknown, Event::Deleted),
        other => Event::Unknown(format!("its type is {:?}", short(other))),
    }
}

impl Draft {
    fn name() -> Self {
        Self {
            only_name: true,
            ..Self::default()
        }
    }

    fn finish(self, error: Option<serde_json::Error>) -> Result<Item, String> {
        let mut item = self.item;
        if let Some(error) = &error {
            item.object = Object {
                uid: std::mem::take(&mut item.object.uid),
                ..Object::unreadable(&error.to_string())
            };
        }
        match (item.name.is_empty(), error) {
            (false, _) => Ok(item),
            (true, Some(error)) => Err(error.to_string()),
            (true, None) => Err("it has no name".to_owned()),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A target for some fields of a JSON object.
trait Fields {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

impl Fields for Line {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = map.next_value()?,
            "object" => map.next_value_seed(Into(&mut self.draft))?,
            _ => ignore(map)?,
        }
        Ok(())
    }
}

impl Fields for Draft {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "metadata" => {
                let (item, only_name) = (&mut self.item, self.only_name);
                map.next_value_seed(Into(&mut Metadata { item, only_name }))?;
            }
            _ if self.only_name => ignore(map)?,
            "data" => map.next_value_seed(Into(&mut Data(&mut self.item.object)))?,
            "binaryData" => map.next_value_seed(Into(&mut Binary(&mut self.item.object)))?,
            // Fields of an error.
            "code" => self.code = map.next_value()?,
            "message" => self.message = map.next_value()?,
            _ => ignore(map)?,
        }
        Ok(())
    }
}

struct Metadata<'a> {
    item: &'a mut Item,
    only_name: bool,
}

impl Fields for Metadata<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let item = &mut *self.item;
        match key {
            "name" => item.name = map.next_value()?,
            "namespace" => item.namespace = map.next_value()?,
            "resourceVersion" => item.version = map.next_value()?,
            "uid" => item.object.set_uid(&map.next_value::<String>()?),
            "annotations" if !self.only_name => {
                map.next_value_seed(Into(&mut Annotations(&mut item.object)))?
            }
            _ => ignore(map)?,
        }
        Ok(())
    }
}

struct Annotations<'a>(&'a mut Object);

impl Fields for Annotations<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let value: String = map.next_value()?;
        self.0.annotate(key, &value);
        Ok(())
    }
}

struct Data<'a>(&'a mut Object);

impl Fields for Data<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let value: String = map.next_value()?;
        self.0.put(key, &value);
        Ok(())
    }
}

struct Binary<'a>(&'a mut Object);

impl Fields for Binary<'_> {
    fn field<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        self.0.binary_keys += 1;
        ignore(map)
    }
}

/// Skips a value. serde_json does this without recursion, so depth is not limited.
fn ignore<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

fn fill<F: Fields>(text: &[u8], target: &mut F) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    Into(target).deserialize(&mut reader)?;
    reader.end()
}

/// Fills its target from a JSON object. A null counts as an empty object.
struct Into<'a, F>(&'a mut F);

impl<'de, F: Fields> DeserializeSeed<'de> for Into<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, F: Fields> Visitor<'de> for Into<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let in_field = |error| A::Error::custom(format!("{}: {error}", short(&key)));
            self.0.field(&key, &mut map).map_err(in_field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "item_tests.rs"]
mod tests;
