//! Manual pages, generated from the help texts.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::option_list::listed_options;
use super::{Cli, help};

/// Footer of each page.
const SOURCE: &str = concat!("scenetap ", env!("CARGO_PKG_VERSION"));
/// Header of each page.
const MANUAL: &str = "scenetap manual";

/// Writes the pages below a folder: `man1/scenetap.1`, one for each command, and
/// `man5/scenetap.toml.5`. Returns their number.
///
/// # Errors
///
/// Returns an error if the folder or a page cannot be written.
pub(super) fn write_to(folder: &Path) -> io::Result<usize> {
    let (commands, files) = (folder.join("man1"), folder.join("man5"));
    fs::create_dir_all(&commands)?;
    fs::create_dir_all(&files)?;
    let mut program = help::annotate(Cli::command()).disable_help_subcommand(true);
    program.build();
    let mut count = 1;
    write_page_and_below(&program, &commands, &mut count)?;
    fs::write(files.join("scenetap.toml.5"), page_of_file()?)?;
    Ok(count)
}

fn write_page_and_below(command: &Command, folder: &Path, count: &mut usize) -> io::Result<()> {
    let man = Man::new(command.clone()).source(SOURCE).manual(MANUAL);
    fs::write(folder.join(man.get_filename()), page_of_command(&man, command)?)?;
    *count += 1;
    command.get_subcommands().try_for_each(|below| write_page_and_below(below, folder, count))
}

fn page_of_command(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    // clap_mangen would reflow these texts, which are already formatted.
    let after = command.get_after_long_help().or_else(|| command.get_after_help());
    let mut roff = Roff::new();
    add_sections(&mut roff, &after.map(ToString::to_string).unwrap_or_default());
    roff.control("SH", ["SEE ALSO"]);
    let mut pages: Vec<String> = Vec::new();
    if command.get_name() != "scenetap" {
        pages.push("scenetap(1)".to_owned());
    }
    pages.extend(["scenetap.toml(5)", "ffmpeg(1)", "mpv(1)"].map(str::to_owned));
    roff.text([roman(pages.join(", "))]);
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// Adds a text. A line at the margin that ends with a colon begins a section.
fn add_sections(roff: &mut Roff, text: &str) {
    let mut is_open = false;
    for paragraph in text.split("\n\n") {
        for line in paragraph.lines() {
            let heading = line.strip_suffix(':').filter(|_| !line.starts_with(' '));
            if let Some(heading) = heading {
                if std::mem::take(&mut is_open) {
                    roff.control("fi", []);
                }
                roff.control("SH", [heading.to_uppercase().as_str()]);
                continue;
            }
            if !std::mem::replace(&mut is_open, true) {
                // A text without a heading continues the previous section as a paragraph.
                roff.control("PP", []).control("nf", []);
            }
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        if is_open {
            roff.control("sp", []);
        }
    }
    if is_open {
        roff.control("fi", []);
    }
}

/// Returns the page of the configuration file.
fn page_of_file() -> io::Result<Vec<u8>> {
    let mut roff = Roff::new();
    roff.control("TH", ["scenetap.toml", "5", "", SOURCE, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("scenetap.toml - configuration file of scenetap")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "Options of scenetap in TOML, one per line, as in scene-threshold = 0.4. All commands share \
         one flat list, and each command reads the options that it has. An unknown key and an \
         invalid value are errors. A flag of the command line and a variable SCENETAP_NAME override \
         the file.",
    )]);
    roff.control("PP", []);
    roff.text([roman(
        "Below, options that have a default are shown with it. Words in capitals stand for a value; text \
         is in quotes, as in session = \"cam\" and keep-for = \"7d\".",
    )]);
    roff.control("SH", ["FILES"]);
    roff.text([
        roman("The file of "),
        bold("--config"),
        roman(
            " is read; else that of the variable SCENETAP_CONFIG, where an empty value means no file; \
             else the first of these that exists:",
        ),
    ]);
    for path in ["$XDG_CONFIG_HOME/scenetap/config.toml", "/etc/scenetap/config.toml"] {
        roff.control("TP", []).text([bold(path)]).text([roman(match path.starts_with('$') {
            true => "The user's file, ~/.config/scenetap/config.toml by default.",
            false => "The administrator's file, for all users and the service.",
        })]);
    }
    roff.control("PP", []);
    roff.text([
        roman("The service "),
        bold("scenetap@NAME"),
        roman(" reads /etc/scenetap/NAME.toml instead."),
    ]);
    for (command, options) in listed_options(&Cli::command()) {
        roff.control("SH", [format!("OPTIONS OF {}", command.to_uppercase()).as_str()]);
        for option in options {
            roff.control("TP", []).text([bold(option.line())]);
            for (number, paragraph) in option.long_help.split("\n\n").enumerate() {
                if number > 0 {
                    roff.control("IP", []);
                }
                roff.text([Inline::Roman(paragraph.to_owned())]);
            }
        }
    }
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in
        ["listen = \"0.0.0.0:4444\"", "sessions-dir = \"/srv/sessions\"", "keep-for = \"7d\""]
    {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("PP", []);
    roff.text([roman("A file with all options: "), bold("scenetap config --print-default")]);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("scenetap(1), scenetap-record(1), scenetap-config(1)")]);
    let mut page = Vec::new();
    roff.to_writer(&mut page)?;
    Ok(page)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::ALL;

    #[test]
    fn each_command_has_a_page_and_the_file_has_one_with_every_option() {
        let folder = tempfile::tempdir().unwrap();
        let count = write_to(folder.path()).unwrap();
        let pages = |section| fs::read_dir(folder.path().join(section)).unwrap().count();
        assert_eq!(pages("man1") + pages("man5"), count);
        for name in ["scenetap.1", "scenetap-record.1", "scenetap-sessions-prune.1"] {
            let page = fs::read_to_string(folder.path().join("man1").join(name)).unwrap();
            assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES"), "{name}: {page}");
        }
        let page = fs::read_to_string(folder.path().join("man5/scenetap.toml.5")).unwrap();
        for key in ALL {
            let name = key.name().replace('-', "\\-");
            assert!(page.contains(&format!("{name} = ")), "{name}");
        }
    }
}
