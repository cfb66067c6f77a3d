//! The lines of the house, so that nobody has to remember them.
use std::path::{Path, PathBuf};

/// The stages, which know nothing of each other.
const STAGES: [&str; 12] = [
    "catalog",
    "decode",
    "demux",
    "detect",
    "ingest",
    "playback",
    "recording",
    "send",
    "session",
    "status",
    "tail",
    "timeline",
];

/// Every source file with the module that it belongs to and its code, tests left out.
fn sources() -> Vec<(PathBuf, String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.push(path);
            }
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&source, &mut files);
    files
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("tests"))
        .map(|path| {
            let inside = path.strip_prefix(&source).unwrap().to_owned();
            let module = inside.components().next().unwrap().as_os_str().to_string_lossy();
            let module = module.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\n#[allow").next().unwrap();
            let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code: Vec<_> =
                code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (inside, module, code.join("\n"))
        })
        .collect()
}

/// Files outside `allowed` whose code contains `text`.
fn offenders(text: &str, allowed: &[&str]) -> Vec<String> {
    sources()
        .into_iter()
        .filter(|(_, module, code)| code.contains(text) && !allowed.contains(&module.as_str()))
        .map(|(path, ..)| format!("{}: {text}", path.display()))
        .collect()
}

#[test]
fn stages_never_import_each_other_nor_what_stands_above_them() {
    let mut found = Vec::new();
    for (path, module, code) in sources() {
        if !STAGES.contains(&module.as_str()) {
            continue;
        }
        for other in
            STAGES.iter().chain(&["pipeline", "cli", "config", "telemetry", "shutdown", "service"])
        {
            if *other != module && code.contains(&format!("crate::{other}")) {
                found.push(format!("{} imports {other}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_stages_share_knows_nothing_of_them() {
    let shared = ["error", "media", "runtime_folder", "service"];
    let offends = |(path, module, code): (PathBuf, String, String)| {
        let imports = code.match_indices("crate::").map(|(at, _)| &code[at + 7..]);
        let foreign = |import: &str| !shared.iter().any(|shared| import.starts_with(shared));
        (shared.contains(&module.as_str()) && imports.into_iter().any(foreign))
            .then(|| path.display().to_string())
    };
    let found: Vec<_> = sources().into_iter().filter_map(offends).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_top_knows_the_command_line_and_the_pipeline() {
    let mut found = offenders("crate::pipeline", &["pipeline", "cli"]);
    found.extend(offenders("crate::cli", &["cli", "main"]));
    found.extend(offenders("clap::", &["cli", "config"]));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    let mut found = offenders("ffmpeg_next", &["decode"]);
    found.extend(offenders("mpeg2ts", &["demux"]));
    found.extend(offenders("tokio::", &["ingest", "pipeline", "shutdown", "status"]));
    found.extend(offenders("rustls", &["ingest"]));
    found.extend(offenders("serde", &["catalog", "cli", "config", "playback", "status"]));
    found.extend(offenders("image::", &["catalog"]));
    found.retain(|line| !line.contains("lib.rs"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn unsafe_code_stays_where_ffmpeg_demands_it() {
    let found = offenders("unsafe {", &["decode"]);
    assert!(found.is_empty(), "{found:#?}");
}
