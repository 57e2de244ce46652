//! Pipeline files, good and bad: the good ones load, and each rendering of what is wrong with a bad
//! one is a reviewed snapshot. A first comment `# --set a=b` in a file is what it is called with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reseed_cli::problems::{Style, render};
use reseed_core::config::{self, Loaded, Problem};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    files
}

/// The settings in the first line, or what the comments of a sample say to type.
fn settings(text: &str) -> BTreeMap<String, String> {
    let comments = text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join(" ");
    let words: Vec<_> = comments.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "--set").filter_map(|pair| pair[1].split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn load(path: &Path) -> (String, Result<Loaded, Vec<Problem>>) {
    let text = std::fs::read_to_string(path).unwrap();
    let loaded = config::load(&text, &settings(&text));
    (text, loaded)
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Files of every mistake that there is, and samples of what people get wrong.
const BAD: [&str; 2] = ["configs/bad", "../samples/invalid"];

#[test]
fn each_bad_file_is_refused_with_all_its_problems_where_they_are() {
    for bad in BAD.map(folder) {
        insta::with_settings!({ snapshot_path => bad.join("rendered"), prepend_module_to_snapshot => false, omit_expression => true }, {
            for path in files(&bad) {
                let (text, loaded) = load(&path);
                let problems = loaded.err().unwrap_or_else(|| panic!("{} loads, but should not", path.display()));
                insta::assert_snapshot!(
                    path.file_stem().unwrap().to_string_lossy().as_ref(),
                    render(&shown(&path), &text, &problems, Style::Plain)
                );
            }
        });
    }
}

#[test]
fn every_problem_of_one_place_is_told_once() {
    for path in BAD.map(folder).iter().flat_map(|bad| files(bad)) {
        let problems = load(&path).1.unwrap_err();
        for (index, problem) in problems.iter().enumerate() {
            assert!(!problems[..index].contains(problem), "{}: twice: {problem:?}", path.display());
            let first = problem.message.chars().next().unwrap();
            assert!(!first.is_uppercase() && !problem.message.ends_with('.'), "{}: {problem:?}", path.display());
        }
    }
}

#[test]
fn each_good_file_and_each_sample_loads() {
    let mut all = files(&folder("configs/good"));
    all.extend(files(&folder("../samples")));
    for path in all {
        let (text, loaded) = load(&path);
        match loaded {
            Ok(loaded) => assert_eq!(loaded.kinds.len(), loaded.settings.len(), "{}", path.display()),
            Err(problems) => panic!("{}", render(&shown(&path), &text, &problems, Style::Plain)),
        }
    }
}
