//! The root key in a PKCS#11 token (SoftHSM): the daemon creates the key in the token, and an erasure
//! destroys it.

use crate::crash::Served;
use crate::harness::{files_below, sayso};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

struct Token {
    dir: tempfile::TempDir,
}

impl Token {
    /// Initializes a token; `None` if SoftHSM is not installed, which is an error in CI.
    fn make() -> Option<Self> {
        if !Path::new(MODULE).exists() {
            assert!(std::env::var_os("CI").is_none(), "CI has SoftHSM");
            println!("SoftHSM is not installed: this test is skipped");
            return None;
        }
        let token = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(token.path("tokens")).unwrap();
        let settings = format!("directories.tokendir = {}\n", token.path("tokens").display());
        std::fs::write(token.path("softhsm2.conf"), settings).unwrap();
        let arguments = ["--init-token", "--free", "--label", "sayso", "--pin", "4711", "--so-pin", "0815"];
        let made = Command::new("softhsm2-util").args(arguments).envs([token.setting()]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::write(token.path("pin"), "4711\n").unwrap();
        std::fs::set_permissions(token.path("pin"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "data = {:?}\n[pkcs11]\nmodule = {MODULE:?}\ntoken = \"sayso\"\npin_file = {:?}\n",
            token.path("data"),
            token.path("pin")
        );
        std::fs::write(token.path("sayso.toml"), config).unwrap();
        Some(token)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn setting(&self) -> (&'static str, PathBuf) {
        ("SOFTHSM2_CONF", self.path("softhsm2.conf"))
    }

    /// Starts the daemon; `None` if it refuses to start.
    fn serve(&self) -> Option<Served> {
        let (config, data) = (self.path("sayso.toml"), self.path("data"));
        let arguments = ["--json", "serve", "--dev", "--config", config.to_str().unwrap()];
        let mut command = sayso(&arguments);
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]).envs([self.setting()]);
        let log = File::create(self.path("stderr")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            child.wait().unwrap();
            return None;
        };
        let (grpc, http) = (ready["grpc"].as_str().unwrap(), ready["http"].as_str().unwrap().to_owned());
        Some(Served { child, grpc: format!("http://{grpc}"), http, data })
    }

    /// The objects in the token. SoftHSM stores each in a file.
    fn objects(&self) -> Vec<PathBuf> {
        let files = files_below(&self.path("tokens")).into_iter();
        let object = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".object") && name != "token.object"
        };
        files.filter(object).collect()
    }
}

/// How many lines of the daemon's log say that SoftHSM is for tests only.
fn warnings(log: &Path) -> usize {
    let log = std::fs::read_to_string(log).unwrap();
    log.lines().filter(|line| line.contains("SoftHSM, which is for tests only")).count()
}

fn run(served: &Served, arguments: &[&str]) -> bool {
    served.run(arguments).output().unwrap().status.success()
}

#[test]
fn an_erasure_replaces_the_root_key_and_destroys_the_old_one() {
    let Some(token) = Token::make() else { return };
    let served = token.serve().expect("the daemon starts");
    for subject in ["ada", "bob"] {
        assert!(run(&served, &["record", subject, "note", "hello", "--category", "work"]));
    }
    let before = token.objects();
    assert_eq!(before.len(), 1, "the token has one root key");
    assert!(!token.path("data/secrets/root.key").exists(), "the data folder has no root key");
    assert!(run(&served, &["erase", "ada", "--scope", "all"]));
    let after = token.objects();
    assert_eq!(after.len(), 1);
    assert_ne!(before, after, "the token has a new object, and the old one is gone");
    served.kill();

    let served = token.serve().expect("the daemon starts with the new root key");
    assert!(run(&served, &["profile", "bob"]) && !run(&served, &["profile", "ada"]));
    assert_eq!(token.objects(), after);
    served.kill();

    std::fs::write(token.path("pin"), "0000").unwrap();
    assert!(token.serve().is_none(), "the daemon refuses a wrong PIN");
    std::fs::write(token.path("pin"), "4711").unwrap();
    std::fs::set_permissions(token.path("pin"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(token.serve().is_none(), "the daemon refuses a PIN file that others can read");
    std::fs::set_permissions(token.path("pin"), std::fs::Permissions::from_mode(0o600)).unwrap();
    for object in token.objects() {
        std::fs::remove_file(object).unwrap();
    }
    assert!(token.serve().is_none(), "the daemon does not start without its root key");
}

#[test]
fn the_daemon_warns_at_start_that_softhsm_is_for_tests_only() {
    let Some(token) = Token::make() else { return };
    token.serve().expect("the daemon starts").kill();
    assert_eq!(warnings(&token.path("stderr")), 1);

    let config = format!("data = {:?}\n", token.path("file-data"));
    std::fs::write(token.path("sayso.toml"), config).unwrap();
    token.serve().expect("the daemon starts with a file of root keys").kill();
    assert_eq!(warnings(&token.path("stderr")), 0, "a file of root keys gets no warning");
}
