//! `package.json`: one object whose arrays are written record by record.

use super::{Record, Section, Sink};
use serde::Serialize;
use std::io::{self, Write};

/// The file on its way out.
pub struct JsonFile<W: Write> {
    out: W,
    fields: bool,
    in_array: bool,
    records: bool,
}

impl<W: Write> JsonFile<W> {
    /// Begins the object.
    ///
    /// # Errors
    /// Writing.
    pub fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, fields: false, in_array: false, records: false })
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        self.end_array()?;
        let before: &[u8] = if self.fields { b",\n" } else { b"\n" };
        self.fields = true;
        self.out.write_all(before)?;
        serde_json::to_writer(&mut self.out, name)?;
        self.out.write_all(b": ")
    }

    fn end_array(&mut self) -> io::Result<()> {
        if self.in_array {
            let end: &[u8] = if self.records { b"\n]" } else { b"]" };
            self.out.write_all(end)?;
        }
        self.in_array = false;
        Ok(())
    }

    /// Adds a field.
    ///
    /// # Errors
    /// Writing.
    pub fn field(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.name(name)?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// Ends the object and hands the writer back.
    ///
    /// # Errors
    /// Writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_array()?;
        self.out.write_all(b"\n}\n")?;
        Ok(self.out)
    }
}

impl<W: Write> Sink for JsonFile<W> {
    fn section(&mut self, section: Section) -> io::Result<()> {
        self.name(section.name())?;
        self.out.write_all(b"[")?;
        (self.in_array, self.records) = (true, false);
        Ok(())
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.out.write_all(if self.records { b",\n" } else { b"\n" })?;
        self.records = true;
        Ok(serde_json::to_writer(&mut self.out, record)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn arrays_with_and_without_records_are_json() {
        let mut file = JsonFile::begin(Vec::new()).unwrap();
        file.field("version", &1).unwrap();
        file.section(Section::Attributes).unwrap();
        file.section(Section::Signals).unwrap();
        file.field("after", &"x").unwrap();
        let text = String::from_utf8(file.finish().unwrap()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json, serde_json::json!({"version": 1, "attributes": [], "signals": [], "after": "x"}));
    }
}
