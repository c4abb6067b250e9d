use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_manifest::plan::FileChange;
use tempfile::TempDir;
use tokio::sync::watch::Receiver;

use super::*;

const BY_EVENTS: Pace = Pace {
    quiet: Duration::from_millis(20),
    settle_max: Duration::from_millis(400),
    poll: Duration::from_secs(600),
    writing_max: Duration::from_secs(600),
    has_events: true,
};
const BY_POLLING: Pace = Pace { poll: Duration::from_millis(20), has_events: false, ..BY_EVENTS };

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{x: '{value}'}}\n")
}

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// `name=value` of every ConfigMap, and the files that are broken.
fn summary(store: &Directory) -> String {
    let listing = match store.list() {
        Ok(listing) => listing,
        Err(error) => return format!("error: {error}"),
    };
    let value = |resource: &penstock_manifest::Resource| {
        let data = resource.root.get("data").and_then(|data| data.get("x"));
        data.and_then(|node| node.as_str()).unwrap_or("?").to_owned()
    };
    let root = store.root.to_string_lossy().into_owned();
    let mut parts: Vec<String> = listing
        .resources
        .iter()
        .map(|resource| format!("{}={}", resource.key.name, value(resource)))
        .chain(listing.broken.iter().map(|broken| {
            let state = if broken.is_empty { "empty" } else { "broken" };
            format!("{state} {}", broken.file.strip_prefix(&root).unwrap_or(&broken.file))
        }))
        .collect();
    parts.sort();
    parts.join(", ")
}

fn open_paced(root: &Path, pace: Pace) -> Directory {
    Directory::with_pace(root.to_path_buf(), pace).unwrap()
}

fn check_list(build: impl FnOnce(&Path), expected: &str) {
    let dir = TempDir::new().unwrap();
    build(dir.path());
    assert_eq!(summary(&open_paced(dir.path(), BY_EVENTS)), expected);
}

/// Waits for the next change; whether there was one.
fn has_changed(changes: &mut Receiver<u64>, patience: Duration) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(patience, changes.changed()).await })
        .is_ok_and(|changed| changed.is_ok())
}

/// Lists until the tree reads as expected, which changes have to announce.
#[track_caller]
fn wait_for(store: &Directory, changes: &mut Receiver<u64>, expected: &str) {
    while has_changed(changes, Duration::from_secs(10)) {
        if summary(store) == expected {
            return;
        }
    }
    assert_eq!(summary(store), expected, "and no change was reported");
}

#[track_caller]
fn check_change(build: impl Fn(&Path), change: impl Fn(&Path), [before, after]: [&str; 2]) {
    for pace in [BY_EVENTS, BY_POLLING] {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("conf");
        fs::create_dir(&root).unwrap();
        build(&root);
        let store = open_paced(&root, pace);
        let mut changes = store.watch();
        assert_eq!(summary(&store), before);
        change(&root);
        wait_for(&store, &mut changes, after);
    }
}

#[test]
fn which_files_are_read() {
    check_list(|_| {}, "");
    check_list(
        |root| {
            write(root.join("a.yaml"), &config_map("a", "v"));
            write(root.join("b.yml"), &config_map("b", "v"));
            write(
                root.join("deep/er/c.json"),
                r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}"#,
            );
            for ignored in [
                ".a.yaml",
                ".penstock/x.yaml",
                "deep/.git/x.yaml",
                "x.yaml.tmp",
                "x.yaml~",
                "x.txt",
                "#x.yaml#",
                "yaml",
                ".console-used",
                ".x.yaml.swp",
            ] {
                write(root.join(ignored), &config_map("ignored", "v"));
            }
        },
        "a=v, b=v, c=?",
    );
}

#[test]
fn what_cannot_be_read_is_broken() {
    check_list(
        |root| {
            write(root.join("a.yaml"), &config_map("a", "v"));
            write(root.join("b.yaml"), "a: [");
            write(root.join("c.yaml"), "# nothing");
            fs::write(root.join("d.yaml"), [0x80, 0x81]).unwrap();
            symlink("missing", root.join("e.yaml")).unwrap();
            fs::create_dir(root.join("f.yaml")).unwrap();
        },
        "a=v, broken /b.yaml, broken /d.yaml, broken /e.yaml, empty /c.yaml",
    );
}

#[test]
fn a_file_without_permission_is_broken() {
    let dir = TempDir::new().unwrap();
    write(dir.path().join("a.yaml"), &config_map("a", "v"));
    write(dir.path().join("closed/b.yaml"), &config_map("b", "v"));
    fs::set_permissions(dir.path().join("a.yaml"), PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(dir.path().join("closed"), PermissionsExt::from_mode(0o000)).unwrap();
    let store = open_paced(dir.path(), BY_EVENTS);
    // Root may read everything, so there is nothing to see then.
    if fs::read(dir.path().join("a.yaml")).is_err() {
        assert_eq!(summary(&store), "broken /a.yaml, broken /closed/");
        assert!(store.list().unwrap().broken.iter().all(|broken| broken.may_be_wasm_plugin));
    }
    fs::set_permissions(dir.path().join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    fs::set_permissions(dir.path().join("a.yaml"), PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(summary(&store), "a=v, b=v");
}

#[test]
fn only_regular_files_are_read() {
    check_list(
        |root| {
            let _socket = std::os::unix::net::UnixListener::bind(root.join("s.yaml")).unwrap();
            symlink("/dev/zero", root.join("d.yaml")).unwrap();
            let made = std::process::Command::new("mkfifo").arg(root.join("f.yaml")).status();
            assert!(made.is_ok_and(|status| status.success()));
        },
        "",
    );
}

#[test]
fn links_are_followed_once() {
    check_list(
        |root| {
            write(root.join("real/a.yaml"), &config_map("a", "v"));
            symlink("real", root.join("alias")).unwrap();
            symlink("..", root.join("real/up")).unwrap();
            symlink("self", root.join("self")).unwrap();
            write(root.join(".data/b.yaml"), &config_map("b", "v"));
            symlink(".data/b.yaml", root.join("b.yaml")).unwrap();
            symlink(".data", root.join("more")).unwrap();
            fs::remove_file(root.join("b.yaml")).unwrap();
        },
        "a=v, b=v",
    );
}

#[test]
fn a_root_that_is_no_directory() {
    let dir = TempDir::new().unwrap();
    write(dir.path().join("a.yaml"), "");
    let error = |path: &str| Directory::open(dir.path().join(path)).err().unwrap().to_string();
    assert!(error("a.yaml").ends_with("a.yaml` is not a directory"), "{}", error("a.yaml"));
    assert!(error("b").starts_with("cannot read the directory `"), "{}", error("b"));
    let kubernetes = crate::store::open("k8s:higress-system").err().unwrap();
    assert!(kubernetes.to_string().contains("not supported yet"));
}

#[test]
fn equal_trees_have_equal_revisions() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for (dir, names) in [(&a, ["x", "y"]), (&b, ["y", "x"])] {
        for name in names {
            write(dir.path().join(format!("configmaps/{name}.yaml")), &config_map(name, "v"));
        }
    }
    let revision = |dir: &TempDir| open_paced(dir.path(), BY_EVENTS).list().unwrap().revision;
    assert_eq!(revision(&a), revision(&b));
    assert_eq!(revision(&a).0.len(), 64);
    write(b.path().join("configmaps/x.yaml"), &config_map("x", "w"));
    assert_ne!(revision(&a), revision(&b));
}

#[test]
fn what_did_not_change_stays_the_same_object() {
    let dir = TempDir::new().unwrap();
    for index in 0..200 {
        let name = format!("c{index}");
        write(dir.path().join(format!("{name}.yaml")), &config_map(&name, "v"));
    }
    let store = open_paced(dir.path(), BY_EVENTS);
    let before = store.list().unwrap();
    write(dir.path().join("c7.yaml"), &config_map("c7", "w"));
    let after = store.list().unwrap();
    let changed: Vec<&str> = before
        .resources
        .iter()
        .zip(&after.resources)
        .filter(|(a, b)| !Arc::ptr_eq(a, b))
        .map(|(_, b)| &*b.key.name)
        .collect();
    assert_eq!(changed, ["c7"]);
}

#[test]
fn what_changes_after_a_report_is_listed() {
    for pace in [BY_EVENTS, BY_POLLING] {
        let dir = TempDir::new().unwrap();
        write(dir.path().join("c.yaml"), &config_map("c", "1"));
        let store = open_paced(dir.path(), pace);
        let mut changes = store.watch();
        write(dir.path().join("a.yaml"), &config_map("a", "1"));
        assert!(has_changed(&mut changes, Duration::from_secs(10)));
        write(dir.path().join("b.yaml"), &config_map("b", "1"));
        fs::remove_file(dir.path().join("c.yaml")).unwrap();
        assert_eq!(summary(&store), "a=1, b=1");
    }
}

#[test]
fn an_edit_of_equal_size_within_one_tick_is_read() {
    let dir = TempDir::new().unwrap();
    let store = open_paced(dir.path(), BY_EVENTS);
    for value in ["a", "b", "c", "d", "e"] {
        write(dir.path().join("x.yaml"), &config_map("x", value));
        assert_eq!(summary(&store), format!("x={value}"));
    }
}

#[test]
fn a_new_file() {
    check_change(|_| {}, |root| write(root.join("a.yaml"), &config_map("a", "1")), ["", "a=1"]);
}

#[test]
fn an_edit_in_place() {
    check_change(
        |root| write(root.join("a.yaml"), &config_map("a", "1")),
        |root| write(root.join("a.yaml"), &config_map("a", "22")),
        ["a=1", "a=22"],
    );
}

#[test]
fn an_edit_by_rename() {
    check_change(
        |root| write(root.join("a.yaml"), &config_map("a", "1")),
        |root| {
            write(root.join("a.yaml.tmp"), &config_map("a", "2"));
            fs::rename(root.join("a.yaml.tmp"), root.join("a.yaml")).unwrap();
        },
        ["a=1", "a=2"],
    );
}

#[test]
fn a_removed_file() {
    check_change(
        |root| write(root.join("x/a.yaml"), &config_map("a", "1")),
        |root| fs::remove_file(root.join("x/a.yaml")).unwrap(),
        ["a=1", ""],
    );
}

#[test]
fn a_renamed_file() {
    check_change(
        |root| write(root.join("a.yaml"), &config_map("a", "1")),
        |root| fs::rename(root.join("a.yaml"), root.join("a.txt")).unwrap(),
        ["a=1", ""],
    );
}

#[test]
fn a_file_that_becomes_empty() {
    check_change(
        |root| write(root.join("a.yaml"), &config_map("a", "1")),
        |root| fs::write(root.join("a.yaml"), "").unwrap(),
        ["a=1", "empty /a.yaml"],
    );
}

#[test]
fn a_new_folder_and_what_is_written_into_it_later() {
    for pace in [BY_EVENTS, BY_POLLING] {
        let dir = TempDir::new().unwrap();
        let store = open_paced(dir.path(), pace);
        let mut changes = store.watch();
        write(dir.path().join("x/y/a.yaml"), &config_map("a", "1"));
        wait_for(&store, &mut changes, "a=1");
        write(dir.path().join("x/y/b.yaml"), &config_map("b", "1"));
        wait_for(&store, &mut changes, "a=1, b=1");
        fs::rename(dir.path().join("x/y"), dir.path().join("x/z")).unwrap();
        fs::write(dir.path().join("x/z/a.yaml"), config_map("a", "2")).unwrap();
        wait_for(&store, &mut changes, "a=2, b=1");
    }
}

#[test]
fn a_swap_of_a_config_map_mount() {
    let mount = |root: &Path, version: &str| {
        let data = format!("..{version}");
        write(root.join(&data).join("a.yaml"), &config_map("a", version));
        symlink(&data, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    check_change(
        |root| {
            mount(root, "1");
            symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        },
        |root| {
            mount(root, "2");
            fs::remove_dir_all(root.join("..1")).unwrap();
        },
        ["a=1", "a=2"],
    );
}

#[test]
fn an_edit_of_a_file_that_is_linked_to() {
    check_change(
        |root| {
            write(root.join("../elsewhere/a.yaml"), &config_map("a", "1"));
            symlink("../elsewhere/a.yaml", root.join("a.yaml")).unwrap();
        },
        |root| write(root.join("../elsewhere/a.yaml"), &config_map("a", "2")),
        ["a=1", "a=2"],
    );
}

#[test]
fn a_root_that_is_a_link_and_is_swapped() {
    for pace in [BY_EVENTS, BY_POLLING] {
        let dir = TempDir::new().unwrap();
        for version in ["1", "2"] {
            write(dir.path().join(version).join("conf/a.yaml"), &config_map("a", version));
        }
        let current = dir.path().join("current");
        symlink("1", &current).unwrap();
        let store = open_paced(&current.join("conf"), pace);
        let mut changes = store.watch();
        assert_eq!(summary(&store), "a=1");
        symlink("2", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), &current).unwrap();
        wait_for(&store, &mut changes, "a=2");
        write(dir.path().join("2/conf/a.yaml"), &config_map("a", "3"));
        wait_for(&store, &mut changes, "a=3");
    }
}

#[test]
fn a_root_that_is_removed_and_made_again() {
    for pace in [BY_EVENTS, BY_POLLING] {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("conf");
        write(root.join("a.yaml"), &config_map("a", "1"));
        let store = open_paced(&root, pace);
        let mut changes = store.watch();
        fs::remove_dir_all(&root).unwrap();
        let gone = summary(&store);
        assert!(gone.starts_with("error: cannot read the directory `"), "{gone}");
        wait_for(&store, &mut changes, &gone);
        write(root.join("a.yaml"), &config_map("a", "2"));
        wait_for(&store, &mut changes, "a=2");
        write(root.join("b.yaml"), &config_map("b", "1"));
        wait_for(&store, &mut changes, "a=2, b=1");
    }
}

#[test]
fn a_file_written_piece_by_piece_is_reported_when_it_rests() {
    use std::io::Write;
    let dir = TempDir::new().unwrap();
    let pace = Pace {
        quiet: Duration::from_millis(800),
        settle_max: Duration::from_secs(60),
        ..BY_EVENTS
    };
    let store = open_paced(dir.path(), pace);
    let mut changes = store.watch();
    let mut file = fs::File::create(dir.path().join("a.yaml")).unwrap();
    for piece in config_map("a", "1").split_inclusive(' ') {
        file.write_all(piece.as_bytes()).unwrap();
        assert!(!has_changed(&mut changes, Duration::from_millis(20)));
    }
    drop(file);
    assert!(has_changed(&mut changes, Duration::from_secs(10)));
    assert_eq!(summary(&store), "a=1");
    assert!(!has_changed(&mut changes, Duration::from_millis(500)));
}

#[test]
fn a_file_is_not_read_before_it_is_closed() {
    use std::io::Write;
    let quick = Pace {
        writing_max: Duration::from_millis(100),
        poll: Duration::from_millis(20),
        ..BY_EVENTS
    };
    for (pace, has_limit) in [(BY_EVENTS, false), (quick, true)] {
        let dir = TempDir::new().unwrap();
        write(dir.path().join("a.yaml"), &config_map("a", "1"));
        let store = open_paced(dir.path(), pace);
        let mut changes = store.watch();
        assert_eq!(summary(&store), "a=1");
        let mut file = fs::File::create(dir.path().join("a.yaml")).unwrap();
        file.write_all(config_map("a", "2").as_bytes()).unwrap();
        let mut created = fs::File::create(dir.path().join("b.yaml")).unwrap();
        created.write_all(config_map("b", "1").as_bytes()).unwrap();
        if has_limit {
            wait_for(&store, &mut changes, "a=2, b=1");
        } else {
            write(dir.path().join("c.yaml"), &config_map("c", "1"));
            wait_for(&store, &mut changes, "a=1, c=1");
            drop((file, created));
            wait_for(&store, &mut changes, "a=2, b=1, c=1");
        }
    }
}

#[test]
fn a_writer_that_never_rests_cannot_hide_a_change() {
    let dir = TempDir::new().unwrap();
    let store = open_paced(dir.path(), BY_EVENTS);
    let mut changes = store.watch();
    let path = dir.path().join("a.yaml");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                write(path.clone(), &config_map("a", "1"));
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let has_changed = has_changed(&mut changes, Duration::from_secs(10));
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(has_changed);
    });
}

#[test]
fn neighbours_and_reading_are_no_changes() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("conf");
    write(root.join("a.yaml"), &config_map("a", "1"));
    let store = open_paced(&root, BY_EVENTS);
    let mut changes = store.watch();
    for number in 0..20 {
        write(dir.path().join(format!("neighbour{number}.yaml")), "x");
        write(root.join(format!(".hidden{number}")), "x");
        write(root.join(format!("log{number}.txt")), "x");
        assert_eq!(summary(&store), "a=1");
    }
    assert!(!has_changed(&mut changes, Duration::from_millis(300)));
}

#[test]
fn the_thread_ends_with_the_store() {
    let dir = TempDir::new().unwrap();
    let mut changes = open_paced(dir.path(), BY_EVENTS).watch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ended = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(10), changes.changed()).await });
    assert!(ended.unwrap().is_err(), "the sender is gone");
}

/// Commits these texts: `name=value` a file, nothing for one that goes.
fn commit(store: &Directory, texts: &[(&str, Option<&str>)]) -> Result<Record, CommitError> {
    let lock = store.lock()?;
    let contents = store.contents()?;
    let base = |path: &str| {
        let file = contents.files.iter().find(|file| &*file.path.relative == path);
        file.map(|file| file.hash)
    };
    let files: Vec<_> = texts
        .iter()
        .map(|(name, value)| {
            let path = format!("configmaps/{name}.yaml");
            let text = value.map(|value| config_map(name, value).into());
            FileChange { base: base(&path), path: path.into(), text }
        })
        .collect();
    let revision = "made".into();
    store.commit(
        &lock,
        &Commit {
            base: &contents.listing.revision,
            revision: &penstock_manifest::Revision(revision),
            files: &files,
            ledger: &contents.ledger,
            author: String::new(),
            message: String::new(),
            summary: String::new(),
        },
    )
}

/// A directory whose second revision changes `a`, adds `b`, removes `c` and
/// was cut short right after its commit.
fn cut_short() -> (TempDir, Directory) {
    let dir = TempDir::new().unwrap();
    let store = open_paced(dir.path(), BY_EVENTS);
    commit(&store, &[("a", Some("1")), ("c", Some("1"))]).unwrap();
    commit(&store, &[("a", Some("2")), ("b", Some("2")), ("c", None)]).unwrap();
    let folder = dir.path().join(".penstock");
    fs::rename(folder.join("history/2"), folder.join("journal")).unwrap();
    write(dir.path().join("configmaps/a.yaml"), &config_map("a", "1"));
    fs::remove_file(dir.path().join("configmaps/b.yaml")).unwrap();
    write(dir.path().join("configmaps/c.yaml"), &config_map("c", "1"));
    (dir, store)
}

#[test]
fn what_is_committed_lies_over_the_files() {
    let (dir, store) = cut_short();
    for store in [store, open_paced(dir.path(), BY_EVENTS)] {
        assert_eq!(summary(&store), "a=2, b=2");
        let contents = store.contents().unwrap();
        assert_eq!((contents.texts.len(), contents.hashes.len()), (2, 2));
        assert_eq!(store.history().unwrap().len(), 2);
    }
}

#[test]
fn every_part_of_a_revision_may_be_done_already() {
    let done: [fn(&Path); 3] = [
        |root| write(root.join("configmaps/a.yaml"), &config_map("a", "2")),
        |root| write(root.join("configmaps/b.yaml"), &config_map("b", "2")),
        |root| fs::remove_file(root.join("configmaps/c.yaml")).unwrap(),
    ];
    for parts in 0..8 {
        let (dir, store) = cut_short();
        let parts = done.iter().enumerate().filter(|(part, _)| parts & (1 << part) != 0);
        parts.for_each(|(_, part)| part(dir.path()));
        assert_eq!(summary(&store), "a=2, b=2");
        store.recover();
        assert!(!dir.path().join(".penstock/journal").exists());
        assert_eq!(summary(&open_paced(dir.path(), BY_EVENTS)), "a=2, b=2");
        assert_eq!(store.history().unwrap().len(), 2);
    }
}

#[test]
fn what_was_edited_by_hand_meanwhile_stays() {
    let (dir, store) = cut_short();
    write(dir.path().join("configmaps/a.yaml"), &config_map("a", "hand"));
    write(dir.path().join("configmaps/c.yaml"), &config_map("c", "hand"));
    assert_eq!(summary(&store), "a=hand, b=2, c=hand");
    // The next writer finishes it first.
    let refused = commit(&store, &[("b", Some("3"))]).unwrap();
    assert_eq!(refused.id, 3);
    assert_eq!(summary(&store), "a=hand, b=3, c=hand");
}

#[test]
fn what_did_not_come_to_its_commit_is_swept_up() {
    let (dir, store) = cut_short();
    let folder = dir.path().join(".penstock");
    fs::rename(folder.join("journal"), folder.join("journal.new")).unwrap();
    write(dir.path().join("configmaps/.b.yaml.penstock"), "half");
    assert_eq!(summary(&store), "a=1, c=1");
    drop(store.lock().unwrap());
    assert!(!folder.join("journal.new").exists());
    assert!(!dir.path().join("configmaps/.b.yaml.penstock").exists());
    assert_eq!(commit(&store, &[("a", Some("3"))]).unwrap().id, 2);
    // A draft that is cut short says as much as it can.
    fs::write(folder.join("journal.new"), "{\"penst").unwrap();
    drop(store.lock().unwrap());
    assert!(!folder.join("journal.new").exists());
}

#[test]
fn a_file_that_is_not_as_it_was_stops_a_commit() {
    let dir = TempDir::new().unwrap();
    let store = open_paced(dir.path(), BY_EVENTS);
    commit(&store, &[("a", Some("1"))]).unwrap();
    let lock = store.lock().unwrap();
    let contents = store.contents().unwrap();
    let change = |base, path: &str| FileChange { path: path.into(), base, text: None };
    let attempt = |files: &[FileChange], base: &penstock_manifest::Revision| {
        let (author, message, summary) = Default::default();
        let ledger = &contents.ledger;
        let commit = Commit { base, revision: base, files, ledger, author, message, summary };
        store.commit(&lock, &commit).unwrap_err().to_string()
    };
    let base = &contents.listing.revision;
    let hash = contents.files.first().map(|file| file.hash);
    for (files, words) in [
        (change(None, "configmaps/a.yaml"), "`configmaps/a.yaml` changed"),
        (change(Some([7; 32]), "configmaps/a.yaml"), "`configmaps/a.yaml` changed"),
        (change(hash, "../a.yaml"), "no place for a manifest"),
        (change(None, "/etc/a.yaml"), "no place for a manifest"),
        (change(None, ".penstock/a.yaml"), "no place for a manifest"),
        (change(None, "configmaps/a.txt"), "no place for a manifest"),
    ] {
        let said = attempt(&[files], base);
        assert!(said.contains(words), "{said}");
    }
    write(dir.path().join("configmaps/z.yaml"), &config_map("z", "1"));
    let said = attempt(&[change(hash, "configmaps/a.yaml")], base);
    assert!(said.contains("the target changed"), "{said}");
    assert_eq!(summary(&store), "a=1, z=1");
}

#[test]
fn a_revision_that_was_cut_short_is_announced() {
    let (dir, _) = cut_short();
    let folder = dir.path().join(".penstock");
    fs::rename(folder.join("journal"), folder.join("aside")).unwrap();
    let store = open_paced(dir.path(), BY_POLLING);
    let mut changes = store.watch();
    assert_eq!(summary(&store), "a=1, c=1");
    fs::rename(folder.join("aside"), folder.join("journal")).unwrap();
    wait_for(&store, &mut changes, "a=2, b=2");
}
