//! The layers in which an option can be given, and their order.

use std::ffi::{OsStr, OsString};
use std::fmt;

use super::file::File;
use super::keys::{AnyKey, Key, key};
use super::values::{self, HostPort};
use crate::error::{Error, Result, Stage};

/// Looks up an environment variable. Passed in, so that tests need not change the process's
/// environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The layers in which an option can be given, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The option was not given.
    Default,
    /// The configuration file.
    File,
    /// A variable of the older system, such as `STREAM_HOST`.
    OldEnvironment,
    /// A variable `SCENETAP_…`.
    Environment,
    /// The command line.
    Flag,
}

/// A value, and the layer in which it was given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked<T> {
    /// The value.
    pub value: T,
    /// The layer in which the value was given.
    pub layer: Layer,
}

/// The layers below the command line: the environment and the file.
pub struct Layers<'a> {
    environment: Environment<'a>,
    file: Option<File>,
}

impl fmt::Debug for Layers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers").field("file", &self.file).finish_non_exhaustive()
    }
}

impl<'a> Layers<'a> {
    /// Returns the layers of one run of the program.
    pub fn new(environment: Environment<'a>, file: Option<File>) -> Self {
        Layers { environment, file }
    }

    /// Returns the value of a variable; an empty one counts as unset.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }

    /// Returns the value from the highest layer in which the option is given. `flag` is the value
    /// on the command line.
    ///
    /// # Errors
    ///
    /// Returns an error if the value in effect is invalid. The error names the variable, or the
    /// file and the line.
    pub fn ranked<T>(&self, flag: Option<T>, key: &Key<T>) -> Result<Option<Ranked<T>>> {
        if let Some(value) = flag {
            return Ok(Some(Ranked { value, layer: Layer::Flag }));
        }
        if let Some(value) = self.read(&key.variable(), |value| key.parse(value))? {
            return Ok(Some(Ranked { value, layer: Layer::Environment }));
        }
        if let Some(name) = key.old_variable
            && let Some(value) = self.read(name, |value| key.parse(value))?
        {
            return Ok(Some(Ranked { value, layer: Layer::OldEnvironment }));
        }
        if let Some(file) = &self.file
            && let Some(text) = file.get(key.name)
        {
            let value = key.parse(text).map_err(|what| file.invalid_value(key.name, &what))?;
            return Ok(Some(Ranked { value, layer: Layer::File }));
        }
        let Some(default) = key.default else { return Ok(None) };
        let value = key.parse(OsStr::new(default)).map_err(|what| {
            Error::new(Stage::Config, format!("the default of --{} {what}", key.name))
        })?;
        Ok(Some(Ranked { value, layer: Layer::Default }))
    }

    /// Returns the value of an optional option.
    ///
    /// # Errors
    ///
    /// As [`Layers::ranked`].
    pub fn optional<T>(&self, flag: Option<T>, key: &Key<T>) -> Result<Option<T>> {
        Ok(self.ranked(flag, key)?.map(|ranked| ranked.value))
    }

    /// Returns the value of a required option.
    ///
    /// # Errors
    ///
    /// As [`Layers::ranked`], and an error if the option is not given and has no default.
    pub fn required<T>(&self, flag: Option<T>, key: &Key<T>) -> Result<T> {
        self.optional(flag, key)?.ok_or_else(|| {
            let (name, variable) = (key.name, key.variable());
            let what = format!(
                "--{name} is missing: give it, set {variable}, or set `{name}` in the --config file"
            );
            Error::new(Stage::Config, what)
        })
    }

    /// Returns the value of `--listen`. The two older variables each replace one half of
    /// the file's value or the default: `STREAM_HOST` the host, `STREAM_PORT` the port.
    ///
    /// # Errors
    ///
    /// As [`Layers::ranked`].
    pub fn listen(&self, flag: Option<HostPort>) -> Result<HostPort> {
        let ranked = self.ranked(flag, &key::LISTEN)?;
        let Some(Ranked { value: below, layer: Layer::File | Layer::Default }) = ranked else {
            return self.required(ranked.map(|ranked| ranked.value), &key::LISTEN);
        };
        let host = self.read("STREAM_HOST", values::host)?;
        let port = self.read("STREAM_PORT", values::port)?;
        Ok(HostPort { host: host.unwrap_or(below.host), port: port.unwrap_or(below.port) })
    }

    fn read<T>(
        &self,
        variable: &str,
        parse: impl FnOnce(&OsStr) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(value) = self.variable(variable) else { return Ok(None) };
        parse(&value)
            .map(Some)
            .map_err(|what| Error::new(Stage::Config, format!("{variable} {what}, not {value:?}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Resolves `--scene-threshold` from these layers.
    fn threshold(flag: Option<f64>, variables: &[(&str, &str)], file: &str) -> Result<Ranked<f64>> {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let file = File::parse(Path::new("f.toml"), file).unwrap();
        let layers = Layers::new(&environment, Some(file));
        layers.ranked(flag, &key::SCENE_THRESHOLD).map(Option::unwrap)
    }

    fn listen(flag: Option<&str>, variables: &[(&str, &str)], file: &str) -> Result<String> {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let file = File::parse(Path::new("f.toml"), file).unwrap();
        let flag = flag.map(|flag| key::LISTEN.parse(OsStr::new(flag)).unwrap());
        Layers::new(&environment, Some(file)).listen(flag).map(|listen| listen.to_string())
    }

    #[test]
    fn each_layer_yields_to_the_one_above() {
        let file = "scene-threshold = 0.2";
        let old = ("SCENE_THRESHOLD", "0.4");
        let new = ("SCENETAP_SCENE_THRESHOLD", "0.5");
        let is = |value, layer| Ranked { value, layer };
        assert_eq!(threshold(None, &[], "").unwrap(), is(0.3, Layer::Default));
        assert_eq!(threshold(None, &[], file).unwrap(), is(0.2, Layer::File));
        assert_eq!(threshold(None, &[old], file).unwrap(), is(0.4, Layer::OldEnvironment));
        assert_eq!(threshold(None, &[old, new], file).unwrap(), is(0.5, Layer::Environment));
        assert_eq!(threshold(Some(0.6), &[old, new], file).unwrap(), is(0.6, Layer::Flag));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let variables = [("SCENETAP_SCENE_THRESHOLD", ""), ("SCENE_THRESHOLD", "")];
        assert_eq!(threshold(None, &variables, "").unwrap().layer, Layer::Default);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = threshold(None, &[("SCENETAP_SCENE_THRESHOLD", "7")], "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "config: SCENETAP_SCENE_THRESHOLD must be a number from 0 to 1, not \"7\""
        );
        let error = threshold(None, &[("SCENE_THRESHOLD", "x")], "").unwrap_err();
        assert!(error.to_string().contains(" SCENE_THRESHOLD must be"), "{error}");
    }

    #[test]
    fn a_wrong_variable_under_a_flag_does_not_matter() {
        let variables = [("SCENETAP_SCENE_THRESHOLD", "7")];
        assert_eq!(threshold(Some(0.6), &variables, "").unwrap().value, 0.6);
    }

    #[test]
    fn the_old_host_and_port_each_replace_their_half() {
        let file = "listen = '10.0.0.1:1000'";
        let (host, port) = (("STREAM_HOST", "0.0.0.0"), ("STREAM_PORT", "5000"));
        assert_eq!(listen(None, &[], "").unwrap(), "127.0.0.1:4444");
        assert_eq!(listen(None, &[], file).unwrap(), "10.0.0.1:1000");
        assert_eq!(listen(None, &[host], file).unwrap(), "0.0.0.0:1000");
        assert_eq!(listen(None, &[port], "").unwrap(), "127.0.0.1:5000");
        assert_eq!(listen(None, &[host, port], file).unwrap(), "0.0.0.0:5000");
        assert_eq!(listen(None, &[("STREAM_HOST", "::")], "").unwrap(), "[::]:4444");
    }

    #[test]
    fn scenetaps_own_listen_passes_over_the_old_ones_even_if_they_are_wrong() {
        let old = ("STREAM_PORT", "many");
        let own = ("SCENETAP_LISTEN", "127.0.0.1:2000");
        assert_eq!(listen(None, &[old, own], "").unwrap(), "127.0.0.1:2000");
        assert_eq!(listen(Some("[::1]:3000"), &[old, own], "").unwrap(), "[::1]:3000");
        let error = listen(None, &[old], "").unwrap_err().to_string();
        assert!(error.contains("STREAM_PORT must be a port"), "{error}");
    }

    #[test]
    fn an_option_without_default_that_must_be_there_says_how_to_give_it() {
        let environment = |_: &str| None;
        let layers = Layers::new(&environment, None);
        let error = layers.required(None, &key::TO).unwrap_err().to_string();
        assert!(error.contains("--to is missing") && error.contains("SCENETAP_TO"));
    }
}
