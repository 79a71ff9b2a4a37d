//! What `cloudstack-setup-databases` takes, and where each of it is in Mainstay.

/// One option of the script.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// As it is typed.
    pub option: &'static str,
    /// Its counterpart in the spec or on the command line.
    pub counterpart: &'static str,
    /// What is different.
    pub remark: &'static str,
}

const fn row(option: &'static str, counterpart: &'static str, remark: &'static str) -> Row {
    Row { option, counterpart, remark }
}

/// Every option (source: `setup/bindir/cloud-setup-databases.in` of apache/cloudstack, 4.23).
pub const OPTIONS: &[Row] = &[
    row(
        "user:password@host:port",
        "`user`, `password_file` in [cloudstack]; `address`, `port` of the node",
        "any password; never in `ps`; IPv6 hosts work",
    ),
    row(
        "--deploy-as",
        "`admin_user`, `admin_defaults_file` in [accounts]",
        "root over the socket needs neither",
    ),
    row("--schema-only", "`schema_dir` without `[cloudstack.properties]`", "accounts are checked too"),
    row("--force-recreate", "`mainstay apply --recreate cloud,cloud_usage`", "asks for the names again"),
    row("--auto", "none", "it needs a Java class that is not shipped, and refuses files that exist"),
    row("--encrypt-type", "`encryption_type` in [cloudstack.properties]", "file, env and web alike"),
    row(
        "--managementserver-secretkey",
        "`management_key_file`",
        "generated when absent; the script's default is `password`",
    ),
    row(
        "--database-secretkey",
        "`database_key_file`",
        "generated when absent; the script's default is `password`",
    ),
    row("--mshost", "`management_ip`", ""),
    row("--regionid", "`region_id`", ""),
    row("--db-conf-path", "`file` in [cloudstack.properties]", ""),
    row("--db-files-path", "`schema_dir`", ""),
    row("--encryption-jar-path", "none", "no Java is needed: values are encrypted natively"),
    row("--encryption-key-file", "`key_file`", "mode 0640, group `group` when it exists, else 0600"),
    row("--encryptor-version", "`encryptor`", ""),
    row("--mysql-bin-path", "none", "no client program is needed"),
    row(
        "--skip-users-auto-creation",
        "none",
        "the scripts' account statements are always left out; accounts come from the spec",
    ),
    row("--debug", "`-v`, `-vv`", "the script's does nothing"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_operators_has_every_option() {
        let page = include_str!("../../../docs/cloudstack.md");
        for Row { option, counterpart, remark } in OPTIONS {
            let end = if remark.is_empty() { "|".to_owned() } else { format!("{remark} |") };
            let line = format!("| `{option}` | {counterpart} | {end}");
            assert!(page.lines().any(|found| found == line), "not in docs/cloudstack.md: {line}");
        }
        let rows = page.lines().skip_while(|line| *line != "| option | in Mainstay | remark |").skip(2);
        assert_eq!(rows.take_while(|line| line.starts_with('|')).count(), OPTIONS.len());
    }
}
