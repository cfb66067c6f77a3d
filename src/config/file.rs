//! The configuration file: a flat list of options in TOML.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Spanned, Value};

use super::keys::{ALL, AnyKey, ValueKind};
use crate::error::{Context, Error, Result, Stage};

/// A configuration file in which every key is known and every value is valid.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    settings: BTreeMap<&'static str, Setting>,
}

/// A key of the file and its value.
#[derive(Debug)]
struct Setting {
    /// The value, in the form used on the command line.
    value: OsString,
    /// Line number, counted from 1.
    line: usize,
}

impl File {
    /// Reads and validates a file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, is not TOML, or contains a key or
    /// value that no option accepts. The error names the file and the line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).context(Stage::Config, path, "cannot read it")?;
        Self::parse(path, &text)
    }

    /// Validates the text of a file. `path` only appears in messages.
    ///
    /// # Errors
    ///
    /// As [`File::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let wrong = |span_start: usize, what: String| {
            let line = line_of(text, span_start);
            Error::new(Stage::Config, format!("line {line}: {}", printable(&what))).path(path)
        };
        let table: BTreeMap<Spanned<String>, Spanned<Value>> = toml::from_str(text)
            .map_err(|e| wrong(e.span().map_or(0, |span| span.start), one_line(e.message())))?;
        // Check the keys in the order of the file, so that the first mistake is reported.
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);

        let mut settings = BTreeMap::new();
        for (name, value) in entries {
            let at = name.span().start;
            let key = known(name.get_ref()).map_err(|what| wrong(at, what))?;
            let value = typed_form(key, value.into_inner()).map_err(|what| wrong(at, what))?;
            let setting = Setting { value, line: line_of(text, at) };
            if let Some(earlier) = settings.insert(key.name(), setting) {
                let what = format!("`{}` is already set in line {}", key.name(), earlier.line);
                return Err(wrong(at, what));
            }
        }
        Ok(File { path: path.to_owned(), settings })
    }

    /// Returns the number of options that the file sets.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.settings.len()
    }

    /// Returns the value of the option `name`, in the form used on the command line.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.settings.get(name).map(|setting| &setting.value)
    }

    /// Returns the error for an invalid value of `name`, with its line.
    pub(super) fn invalid_value(&self, name: &str, what: &str) -> Error {
        let line = self.settings.get(name).map_or(0, |setting| setting.line);
        Error::new(Stage::Config, format!("line {line}: `{name}` {what}")).path(&self.path)
    }
}

/// Returns the number of the line that contains byte `at`, counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Escapes control characters in a key or value, such as line breaks, so that a message
/// stays one line.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_control() => c.escape_default().collect(),
        c => String::from(c),
    };
    text.chars().map(shown).collect()
}

fn known(name: &str) -> Result<&'static dyn AnyKey, String> {
    let name = name.replace('_', "-");
    if let Some(key) = ALL.iter().find(|key| key.name() == name) {
        return Ok(*key);
    }
    let nearest =
        ALL.iter().map(|key| key.name()).min_by_key(|known| strsim::levenshtein(&name, known));
    Err(format!("unknown key `{name}`; the nearest one is `{}`", nearest.unwrap_or_default()))
}

/// Converts a value to the form used on the command line, if the option accepts it.
fn typed_form(key: &dyn AnyKey, value: Value) -> Result<OsString, String> {
    let expected = match key.kind() {
        ValueKind::Text => "a string in quotes",
        ValueKind::Number => "a number",
        ValueKind::Whole => "a whole number",
        ValueKind::Switch => "true or false",
        ValueKind::NumberOrText => "a number or a string in quotes",
        ValueKind::Words | ValueKind::List => "a string in quotes, or an array of them",
    };
    let text = match (key.kind(), &value) {
        (
            ValueKind::Text | ValueKind::NumberOrText | ValueKind::Words | ValueKind::List,
            Value::String(text),
        ) => text.clone(),
        (ValueKind::List, Value::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let wrong = || format!("`{}` must be {expected}, not {value}", key.name());
            items.ok_or_else(wrong)?.join(",")
        }
        (ValueKind::Words, Value::Array(words)) => quoted(words)
            .ok_or_else(|| format!("`{}` must be {expected}, not {value}", key.name()))?,
        (
            ValueKind::Number | ValueKind::Whole | ValueKind::NumberOrText,
            Value::Integer(number),
        ) => number.to_string(),
        // `Display` prints the shortest text that parses as the same `f64`.
        (ValueKind::Number | ValueKind::NumberOrText, Value::Float(number)) => number.to_string(),
        (ValueKind::Switch, Value::Boolean(on)) => on.to_string(),
        (_, Value::Table(_)) => {
            return Err(format!("`{}` must be {expected}; tables are not supported", key.name()));
        }
        _ => return Err(format!("`{}` must be {expected}, not {value}", key.name())),
    };
    let text = OsString::from(text);
    key.check(&text).map_err(|what| format!("`{}` {what}, not {value}", key.name()))?;
    Ok(text)
}

/// Returns the words as one command line, quoted where a shell requires it.
fn quoted(words: &[Value]) -> Option<String> {
    let words: Option<Vec<&str>> = words.iter().map(Value::as_str).collect();
    shlex::try_join(words?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        File::parse(Path::new("/etc/scenetap.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn dashes_and_underscores_are_the_same() {
        let file = File::parse(Path::new("x"), "frame-width = 640\nsessions_dir = '/s'\n").unwrap();
        assert_eq!(file.get("frame-width").unwrap(), "640");
        assert_eq!(file.get("sessions-dir").unwrap(), "/s");
    }

    #[test]
    fn an_unknown_key_is_told_with_its_line_and_the_nearest_known_one() {
        assert_eq!(
            refused("# ours\nlisten = '0.0.0.0:4444'\n\nscene-treshold = 0.4\n"),
            "config: /etc/scenetap.toml: line 4: unknown key `scene-treshold`; \
             the nearest one is `scene-threshold`"
        );
    }

    #[test]
    fn the_first_mistake_is_the_one_told() {
        let error = refused("zzz = 1\naaa = 2\n");
        assert!(error.contains("line 1: unknown key `zzz`"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_line() {
        assert_eq!(
            refused("once = true\nscene-threshold = \"0.3\"\n"),
            "config: /etc/scenetap.toml: line 2: `scene-threshold` must be a number, not \"0.3\""
        );
        assert!(refused("once = 1").contains("line 1: `once` must be true or false, not 1"));
        assert!(refused("jobs = 1.5").contains("must be a whole number"));
        assert!(refused("session = 2024-06-01").contains("must be a string in quotes"));
        assert!(refused("[listen]\nhost = 'a'").contains("tables are not supported"));
    }

    #[test]
    fn a_value_out_of_limits_is_told_with_its_line() {
        let error = refused("\njpeg-quality = 101\n");
        assert!(error.contains("line 2: `jpeg-quality` must be"), "{error}");
        assert!(refused("scene-threshold = nan").contains("must be a number from 0 to 1"));
    }

    #[test]
    fn one_option_in_both_spellings_is_refused() {
        let error = refused("frame-width = 640\nframe_width = 320\n");
        assert!(error.contains("line 2: `frame-width` is already set in line 1"), "{error}");
    }

    #[test]
    fn what_is_not_toml_is_told_in_one_line() {
        let error = refused("once = true\nlisten = 0.0.0.0:4444\n");
        assert!(error.contains("line 2: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_key_or_a_value_of_several_lines_is_told_in_one_line() {
        for text in ["quiet = \"\"\"a\nb\"\"\"", "\"a\\nb\\u001b\" = 1"] {
            let error = refused(text);
            assert!(!error.contains(char::is_control) && error.contains("a\\nb"), "{error:?}");
        }
    }

    #[test]
    fn a_number_from_the_file_is_the_number_that_is_written() {
        let file = File::parse(Path::new("x"), "scene-threshold = 0.1\nspeed = 2\n").unwrap();
        assert_eq!(file.get("scene-threshold").unwrap(), "0.1");
        assert_eq!(file.get("speed").unwrap(), "2");
    }
}
