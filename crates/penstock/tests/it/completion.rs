//! `completion` prints scripts that know every verb.

use std::process::Command;

use crate::support::*;

fn script(shell: &str) -> String {
    let output = penstock(&["completion", shell]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_script_knows_the_verbs_and_their_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = script(shell);
        for word in ["serve", "lint", "fmt", "completion", "fail-on", "console-exact"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn an_unknown_shell_is_misuse() {
    assert_eq!(penstock(&["completion", "rc"]).status.code(), Some(64));
    assert_eq!(penstock(&["completion"]).status.code(), Some(64));
}

#[test]
fn bash_completes_a_flag() {
    let question = "COMP_WORDS=(penstock fmt --che); COMP_CWORD=2; \
        _penstock penstock --che fmt; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", &format!("{}\n{question}", script("bash"))])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "--check");
}
