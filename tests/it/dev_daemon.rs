//! Tests a `sayso serve --dev` that runs in its own process and folder. Commands have to find its address by
//! themselves.

use crate::harness::sayso;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The daemon. Its data folder is `sayso-data` in `dir`. It is killed when this value is dropped.
pub struct DevDaemon {
    dir: tempfile::TempDir,
    child: Child,
    /// The line that says where it listens.
    pub greeting: String,
}

impl DevDaemon {
    /// Starts the daemon on free ports.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = sayso(&["serve", "--dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("sayso serves"), "{greeting}");
        Self { dir, child, greeting }
    }

    /// The folder in which it was started, and in which commands find it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A command that runs in the daemon's folder.
    pub fn sayso(&self, arguments: &[&str]) -> Command {
        let mut command = sayso(arguments);
        command.current_dir(self.dir());
        command
    }

    /// Stops the daemon with SIGTERM.
    fn stop(&mut self) {
        let stopped = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(stopped.success() && self.child.wait().unwrap().success());
    }
}

impl Drop for DevDaemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[test]
fn commands_find_a_dev_daemon_on_any_address_in_its_data_folder() {
    let mut daemon = DevDaemon::start();
    let stats = |daemon: &DevDaemon, arguments: &[&str]| {
        daemon.sayso(&[&["stats"], arguments].concat()).output().unwrap()
    };
    assert!(stats(&daemon, &[]).status.success(), "no flag is needed");
    let other = stats(&daemon, &["--addr", "http://127.0.0.1:9"]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("no daemon answers at http://127.0.0.1:9"));
    let mut elsewhere = sayso(&["--data", "no-such-folder", "--token-file", "token", "stats"]);
    std::fs::copy(daemon.dir().join("sayso-data/dev/auditor.token"), daemon.dir().join("token")).unwrap();
    let elsewhere = elsewhere.current_dir(daemon.dir()).output().unwrap();
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("http://127.0.0.1:7117"), "{elsewhere:?}");
    // A daemon that stopped leaves no address; one that was killed leaves it until the next start.
    let address = daemon.dir().join("sayso-data/dev/address");
    let before = std::fs::read_to_string(&address).unwrap();
    assert!(daemon.greeting.contains(before.trim().strip_prefix("http://").unwrap()), "{before}");
    daemon.stop();
    assert!(!address.exists());
}

#[test]
fn a_daemon_without_dev_removes_the_address_that_a_killed_dev_daemon_left() {
    let mut daemon = DevDaemon::start();
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    let address = daemon.dir().join("sayso-data/dev/address");
    assert!(address.exists());
    let listen = ["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    daemon.child = daemon.sayso(&listen).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(daemon.child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("sayso serves") && !address.exists(), "{ready}");
}

#[test]
fn a_dev_daemon_writes_a_token_for_each_role_except_subject() {
    let daemon = DevDaemon::start();
    let files = std::fs::read_dir(daemon.dir().join("sayso-data/dev")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut roles: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".token").map(str::to_owned)).collect();
    roles.sort();
    let expected = ["auditor", "authority", "channel", "operator", "service", "service-channel", "steward"];
    assert_eq!(roles, expected);
    let refused = daemon.sayso(&["--as", "subject", "profile", "ada"]).output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("sayso token --role subject"), "{error}");
}
