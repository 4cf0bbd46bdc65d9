use super::*;

fn workspace() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in ["Cargo.toml", "libs/a/src/lib.rs", "services/b/config.toml", "clients/c/src/main.rs"] {
        write(root.path(), file, "1");
    }
    root
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn changed_by(change: impl FnOnce(&Path)) -> Vec<String> {
    let root = workspace();
    let before = Snapshot::of(root.path()).unwrap();
    change(root.path());
    let changed = Snapshot::of(root.path()).unwrap().since(&before);
    changed.iter().map(|path| path.strip_prefix(root.path()).unwrap().display().to_string()).collect()
}

#[test]
fn sources_and_manifests_are_watched() {
    for file in ["Cargo.toml", "libs/a/src/lib.rs", "services/b/config.toml", "clients/c/src/main.rs"] {
        assert_eq!(changed_by(|root| write(root, file, "22")), [file]);
    }
    assert_eq!(changed_by(|root| write(root, "libs/a/src/deep/er/new.rs", "")), ["libs/a/src/deep/er/new.rs"]);
    assert_eq!(changed_by(|root| fs::remove_file(root.join("libs/a/src/lib.rs")).unwrap()), ["libs/a/src/lib.rs"]);
    assert_eq!(changed_by(|root| fs::remove_dir_all(root.join("clients")).unwrap()), ["clients/c/src/main.rs"]);
    assert_eq!(changed_by(|_| ()), [""; 0]);
}

#[test]
fn a_change_of_the_same_length_is_seen_by_its_time() {
    let later = |root: &Path| {
        let file = fs::File::options().write(true).open(root.join("libs/a/src/lib.rs")).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified + Duration::from_secs(1)).unwrap();
    };
    assert_eq!(changed_by(later), ["libs/a/src/lib.rs"]);
}

#[test]
fn what_builds_and_tools_write_is_not_watched() {
    let noise = |root: &Path| {
        for file in ["libs/a/target/x.rs", "clients/c/node_modules/y.toml", "libs/.cache/z.rs", "libs/a/README.md"] {
            write(root, file, "1");
        }
        write(root, "docs/x.rs", "1");
        std::os::unix::fs::symlink(root, root.join("libs/circle")).unwrap();
    };
    assert_eq!(changed_by(noise), [""; 0]);
}

#[test]
fn a_change_is_told_once_and_only_when_it_has_settled() {
    let root = workspace();
    let look = || Snapshot::of(root.path()).unwrap();
    let mut watch = Watch::new(look());
    assert_eq!(watch.look(look()), None);
    write(root.path(), "libs/a/src/lib.rs", "22");
    assert_eq!(watch.look(look()), None, "more may come");
    write(root.path(), "libs/a/src/lib.rs", "333");
    assert_eq!(watch.look(look()), None, "more came");
    assert_eq!(watch.look(look()), Some(vec![root.path().join("libs/a/src/lib.rs")]));
    assert_eq!(watch.look(look()), None);
}

#[test]
fn what_is_taken_back_before_it_settled_builds_nothing() {
    let root = workspace();
    let before = Snapshot::of(root.path()).unwrap();
    let mut watch = Watch::new(before.clone());
    write(root.path(), "libs/a/src/lib.rs", "22");
    assert_eq!(watch.look(Snapshot::of(root.path()).unwrap()), None);
    assert_eq!((watch.look(before.clone()), watch.look(before)), (None, None));
}

#[tokio::test]
async fn the_server_drains_before_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let script = r#"trap 'echo drained >>"$0"; exit 0' TERM; echo ready >"$0"; while :; do sleep 0.02; done"#;
    let mut server = Server::default();
    server.start(Command::new("sh").arg("-c").arg(script).arg(&log)).unwrap();
    let told = || fs::read_to_string(&log).unwrap_or_default();
    testkit::eventually(Duration::from_secs(10), "the trap", async || told().contains("ready").then_some(())).await;
    server.notice_end().unwrap();
    server.stop(&Clock::system()).await.unwrap();
    assert_eq!(told(), "ready\ndrained\n");
    server.stop(&Clock::system()).await.unwrap();
}

#[tokio::test]
async fn one_that_ended_by_itself_is_let_go() {
    let mut server = Server::default();
    server.start(Command::new("sh").args(["-c", "exit 3"])).unwrap();
    testkit::eventually(Duration::from_secs(10), "its end", async || {
        server.notice_end().unwrap();
        server.0.is_none().then_some(())
    })
    .await;
    let error = server.start(&mut Command::new("no-such-program-here")).unwrap_err();
    assert!(error.to_string().contains("can't start `no-such-program-here`"), "{error}");
}
