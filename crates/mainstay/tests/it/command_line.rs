//! What needs no server: help, specs, encryption, generated files.

use crate::bench::{run, run_with, tool, write, write_secret};

#[test]
fn every_verb_explains_itself() {
    for verb in [
        &["init"][..],
        &["plan"],
        &["apply"],
        &["status"],
        &["explain"],
        &["history"],
        &["switchover"],
        &["failover"],
        &["reinit"],
        &["pause"],
        &["resume"],
        &["maintenance"],
        &["agent"],
        &["fencer"],
        &["health"],
        &["render"],
        &["facts"],
        &["binlog"],
        &["binlog", "stats"],
        &["binlog", "find"],
        &["binlog", "sql"],
        &["binlog", "rollback"],
        &["digest"],
        &["digest", "slow"],
        &["digest", "general"],
        &["digest", "binlog"],
        &["digest", "live"],
        &["cloudstack"],
        &["cloudstack", "encrypt"],
        &["cloudstack", "decrypt"],
        &["cloudstack", "show-properties"],
        &["openstack"],
        &["lab"],
        &["lab", "up"],
        &["demo"],
        &["completions"],
        &["man"],
    ] {
        let mut args = verb.to_vec();
        args.push("--help");
        let ran = run(&args);
        assert_eq!(ran.code, Some(0), "{verb:?}");
        assert!(ran.out.len() > 150, "{verb:?}: {}", ran.out);
        let is_group = ran.out.contains("\nCommands:\n");
        assert!(is_group || ["demo", "man"].contains(&verb[0]) || ran.out.contains("Example"), "{verb:?}");
    }
    assert!(run(&["--help"]).out.contains("Exit codes: 0 good, 1 failed, 2"));
}

#[test]
fn init_writes_a_spec_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mainstay.toml").to_string_lossy().into_owned();
    for cloud in ["cloudstack", "openstack", "none"] {
        let ran = run(&["init", "--cloud", cloud, "--stdout"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        spec::Spec::parse(&ran.out, "init").unwrap_or_else(|errors| panic!("{errors}"));
    }
    assert_eq!(run(&["init", "--config", &path]).code, Some(0));
    let before = std::fs::read_to_string(&path).unwrap();
    // Whatever is found on this host, the spec itself is in order.
    let plan = run(&["plan", "--json", "--no-measure", "--config", &path]);
    assert!(matches!(plan.code, Some(0 | 2)), "{plan:?}");
    let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
    assert!(plan["preflight"].is_array(), "{plan}");
    let again = run(&["init", "--config", &path]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("is there already") && again.err.contains("  -> "), "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_wrong_spec_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    write(
        &path,
        "[cluster]\nname = \"a\"\nserver = \"mariadb\"\n\n[[node]]\nnmae = \"n\"\naddress = \"127.0.0.1\"\n",
    );
    let path = path.to_string_lossy().into_owned();
    let ran = run(&["plan", "--config", &path]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("s.toml:6:1") && ran.err.contains("did you mean `name`?"), "{}", ran.err);
    let ran = run(&["plan", "--config", "/nonexistent/mainstay.toml"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("mainstay init"), "{}", ran.err);
}

#[test]
fn values_encrypt_and_decrypt() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    write_secret(&key, "mgmt key 1\n");
    let key = key.to_string_lossy().into_owned();
    let plain = r#"p$a"s's\w@o:rd-é"#;
    for version in ["V1", "V2"] {
        let made = run_with(
            &["cloudstack", "encrypt", "--key-file", &key, "--encryptor", version, "--wrap"],
            plain,
            &[],
        );
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.out.starts_with("ENC(") && !made.out.contains(plain), "{made:?}");
        let back = run_with(&["cloudstack", "decrypt", "--key-file", &key], &made.out, &[]);
        assert_eq!(back.out.trim_end(), plain);
        let wrong = run_with(&["cloudstack", "decrypt"], &made.out, &[("CLOUD_SECRET_KEY", "hunter2-key")]);
        assert_eq!(wrong.code, Some(1));
        assert!(!wrong.err.contains("hunter2-key") && wrong.err.contains("  -> "), "{wrong:?}");
        assert!(wrong.out.is_empty() && !wrong.err.contains(plain), "{wrong:?}");
        independently(version, &made.out, "mgmt key 1", plain);
    }
    let vector = run_with(
        &["cloudstack", "decrypt"],
        "FEBaAbivAKlKGw533BRO+8jk4ZgZpEX1klDVUxCqn3+tbbjB",
        &[("CLOUD_SECRET_KEY", "password")],
    );
    assert_eq!(vector.out, "password\n");
    let none = run_with(&["cloudstack", "encrypt"], "x", &[]);
    assert!(none.code == Some(1) && none.err.contains("--key-file"), "{none:?}");
}

/// Decodes with Python's hashlib and a textbook AES-GCM and, for DES, with openssl.
fn independently(version: &str, wrapped: &str, key: &str, plain: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/decode.py");
    let value = wrapped.trim().trim_start_matches("ENC(").trim_end_matches(')');
    match tool("python3", &[script, version, key, value]) {
        None => println!("skipped: python3 is not installed"),
        Some(ran) if ran.code == Some(77) => println!("skipped: {}", ran.err.trim()),
        Some(ran) => {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            assert_eq!(ran.out.trim_end(), plain, "{version}");
        }
    }
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == Some(0) && ran.out.contains("mainstay"), "{shell}");
        assert!(ran.out.contains("recreate"), "{shell} completes no options");
    }
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&["man", &folder.path().to_string_lossy()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let page = std::fs::read_to_string(folder.path().join("mainstay-apply.1")).unwrap();
    assert!(page.contains("read the result back"), "{page}");
}
