//! Writes `package.json`: one object whose arrays are written record by record.

use super::format::Section;
use super::record::{Record, Sink};
use serde::Serialize;
use std::io::{self, Write};

/// Writes the file.
pub struct JsonFile<W: Write> {
    out: W,
    has_fields: bool,
    in_array: bool,
    /// Whether the current array has records.
    has_records: bool,
}

impl<W: Write> JsonFile<W> {
    /// Begins the object.
    ///
    /// # Errors
    /// Writing failed.
    pub fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self { out, has_fields: false, in_array: false, has_records: false })
    }

    fn name(&mut self, name: &str) -> io::Result<()> {
        self.end_array()?;
        let before: &[u8] = if self.has_fields { b",\n" } else { b"\n" };
        self.has_fields = true;
        self.out.write_all(before)?;
        serde_json::to_writer(&mut self.out, name)?;
        self.out.write_all(b": ")
    }

    fn end_array(&mut self) -> io::Result<()> {
        if self.in_array {
            let end: &[u8] = if self.has_records { b"\n]" } else { b"]" };
            self.out.write_all(end)?;
        }
        self.in_array = false;
        Ok(())
    }

    /// Adds a field.
    ///
    /// # Errors
    /// Writing failed.
    pub fn field(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        self.name(name)?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    /// Ends the object and returns the writer.
    ///
    /// # Errors
    /// Writing failed.
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
        (self.in_array, self.has_records) = (true, false);
        Ok(())
    }

    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.out.write_all(if self.has_records { b",\n" } else { b"\n" })?;
        self.has_records = true;
        Ok(serde_json::to_writer(&mut self.out, record)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn full_and_empty_arrays_are_json() {
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
