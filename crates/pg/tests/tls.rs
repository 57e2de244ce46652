//! TLS to a real primary: each mode, right and wrong, and the standby that follows it the same way.

mod support;

use std::os::unix::fs::PermissionsExt;

use reseed_lab::{Major, PrimaryOptions, Tool, installed_majors, is_root};
use reseed_pg as _;
use support::certificates::{Authority, put};
use support::pair::Pair;
use support::{check, run};

/// The name that the server's certificate is for; nothing resolves it.
const NAME: &str = "db.reseed.test";
const OPEN: &str = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n";

/// A pair of this version, if servers can be run here.
fn pair(major: Option<Major>) -> Option<Pair> {
    let Some(major) = major.filter(|_| is_root()) else {
        println!("skipped: needs root and PostgreSQL");
        return None;
    };
    let mut pair = Pair::new(&major, &PrimaryOptions::default());
    pair.conninfo = pair.conninfo.replace("host=127.0.0.1", &format!("host={NAME} hostaddr=127.0.0.1"));
    Some(pair)
}

impl Pair {
    fn serve_tls(&self, (certificate, key): &(String, String), hba: &str) {
        self.reconfigure(&[("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl", "on")], hba);
    }

    fn with(&self, settings: &str) -> String {
        self.switching().replace(&self.conninfo, &format!("{} {settings}", self.conninfo))
    }

    /// It is reached like this.
    async fn reaches(&self, settings: &str, how: &str) {
        let noted = check(&self.with(settings)).await.unwrap_or_else(|refused| panic!("{settings}: {refused:#?}"));
        let note = format!("pg-quiesce: the server is reached {how}");
        assert!(noted.contains(&note), "{settings}: {noted:#?}");
    }

    /// It is not reached, for this reason, with this in the hint.
    async fn refuses(&self, settings: &str, reason: &str, hint: &str) {
        let report = run(&self.with(settings)).await.expect(3).report;
        let (error, hinted) = (report.error.unwrap(), report.hint.unwrap_or_default());
        assert!(error.contains(reason), "{settings}: {error}");
        assert!(hinted.contains(hint), "{settings}: {hinted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_does_what_libpq_says() {
    let Some(pair) = pair(Major::newest().ok()) else { return };
    let (ours, other) = (Authority::new(&pair.lab, "ours"), Authority::new(&pair.lab, "other"));
    pair.serve_tls(&ours.issue(NAME, &[NAME], "postgres"), OPEN);
    let (known, unknown) = (format!("sslrootcert={}", ours.path), format!("sslrootcert={}", other.path));
    for (settings, how) in [
        ("", "over TLSv1.3"),
        ("sslmode=disable", "without TLS"),
        ("sslmode=allow", "without TLS"),
        ("sslmode=prefer", "over TLSv1.3"),
        ("sslmode=require", "over TLSv1.3"),
        ("sslmode=require ssl_max_protocol_version=TLSv1.2", "over TLSv1.2"),
        (&format!("sslmode=require {known}"), "over TLSv1.3"),
        (&format!("sslmode=verify-ca {known}"), "over TLSv1.3"),
        (&format!("sslmode=verify-full {known}"), "over TLSv1.3"),
        (&format!("sslmode=verify-full sslsni=0 {known}"), "over TLSv1.3"),
        (&format!("sslmode=prefer {unknown}"), "without TLS"),
        ("sslmode=prefer sslrootcert=/none", "over TLSv1.3"),
    ] {
        pair.reaches(settings, how).await;
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let settings = format!("sslmode={mode} {unknown}");
        pair.refuses(&settings, "signed by none of the known authorities", "sslrootcert=/path").await;
        pair.refuses(&format!("sslmode={mode} sslrootcert=/none"), "/none is not there", "sslrootcert=").await;
    }
    pair.refuses("sslrootcert=system", "", "sslrootcert").await;
    pair.refuses("sslnegotiation=direct sslmode=require", "TLS does not come about", "from 17 on").await;
    let by_address = format!("sslmode=verify-full {known} host=127.0.0.1");
    pair.refuses(&by_address, &format!("it is for {NAME}, not for 127.0.0.1"), "hostaddr=").await;
    pair.reaches(&by_address.replace("verify-full", "verify-ca"), "over TLSv1.3").await;
    let crl = |serial| format!("sslmode=verify-ca {known} sslcrl={}", ours.revoke(serial));
    pair.refuses(&crl(8), "has been revoked", "renew").await;
    pair.reaches(&crl(9), "over TLSv1.3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_s_own_wishes_decide_where_the_mode_leaves_it_open() {
    let Some(pair) = pair(Major::newest().ok()) else { return };
    pair.reconfigure(&[], OPEN);
    pair.reaches("", "without TLS").await;
    pair.refuses("sslmode=require", "the server speaks no TLS", "ssl = on").await;

    let ours = Authority::new(&pair.lab, "ours");
    let server = ours.issue(NAME, &[NAME], "postgres");
    pair.serve_tls(&server, &OPEN.replace("host ", "hostnossl "));
    pair.reaches("sslmode=prefer", "without TLS").await;
    pair.refuses("sslmode=require", "no pg_hba.conf entry", "pg_hba.conf").await;

    pair.serve_tls(&server, &OPEN.replace("host ", "hostssl "));
    pair.reaches("sslmode=allow", "over TLSv1.3").await;
    pair.refuses("sslmode=disable", "no pg_hba.conf entry", "hostssl").await;

    pair.serve_tls(&server, &OPEN.replace("trust", "scram-sha-256"));
    pair.primary.sql("set password_encryption = 'scram-sha-256'; alter role replicator password 'right'").unwrap();
    let passwords = tempfile::tempdir().unwrap();
    let by_file = |password: &str| {
        let path = passwords.path().join(password);
        std::fs::write(&path, format!("*:*:*:*:{password}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        format!("passfile={}", path.display())
    };
    pair.reaches(&format!("{} channel_binding=require", by_file("right")), "over TLSv1.3").await;
    pair.refuses(&by_file("wrong"), "password authentication failed", "password").await;

    pair.serve_tls(&ours.issue_old(NAME, "postgres"), OPEN);
    let known = format!("sslmode=verify-full sslrootcert={}", ours.path);
    pair.refuses(&known, "has run out", "renew").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lets_a_client_in() {
    let Some(pair) = pair(Major::newest().ok()) else { return };
    let (ours, other) = (Authority::new(&pair.lab, "ours"), Authority::new(&pair.lab, "other"));
    let hba = OPEN.replace("host ", "hostssl ").replace("trust", "cert");
    pair.reconfigure(&[("ssl_ca_file", &ours.path)], "");
    pair.serve_tls(&ours.issue(NAME, &[NAME], "postgres"), &hba);
    let full = format!("sslmode=verify-full sslrootcert={}", ours.path);
    let shown = |(certificate, key): (String, String)| format!("{full} sslcert={certificate} sslkey={key}");

    pair.refuses(&full, "valid client certificate", "sslcert=").await;
    pair.refuses(&shown(other.issue("replicator", &[], "root")), "the server breaks TLS off", "sslcert=").await;
    let (certificate, key) = ours.issue("replicator", &[], "root");
    let mine = shown((certificate.clone(), key.clone()));
    pair.refuses(&mine, &format!("needs {key}, which the user postgres on local may not read"), "put it there").await;
    let (_, theirs) = ours.issue("copy", &[], "postgres");
    std::fs::copy(&key, &theirs).unwrap();
    pair.reaches(&shown((certificate.clone(), theirs)), "over TLSv1.3").await;
    let open = put(&pair.lab, "open.key", &std::fs::read_to_string(&key).unwrap(), "root", 0o644);
    pair.refuses(&shown((certificate.clone(), open)), "others may read the key", "chmod 600").await;
    let (_, of_another) = ours.issue("another", &[], "root");
    pair.refuses(&shown((certificate, of_another)), "TLS settings can't be used", "sslkey").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_follows_as_it_was_told() {
    for major in installed_majors().into_values().filter(|major| [10, 15, 18].contains(&major.number)) {
        let Some(mut pair) = pair(Some(major)) else { return };
        let ours = Authority::new(&pair.lab, "ours");
        pair.serve_tls(&ours.issue(NAME, &[NAME], "postgres"), &OPEN.replace("host ", "hostssl "));
        let direct = if pair.primary.major.number >= 17 { " sslnegotiation=direct" } else { "" };
        pair.conninfo += &format!(" sslmode=verify-full sslrootcert={}{direct}", ours.path);
        pair.seed().await;
        run(&pair.switching()).await.expect(0);
        pair.agrees();
        let protected = "select bool_and(ssl) from pg_stat_ssl join pg_stat_replication using (pid)";
        assert_eq!(pair.primary.sql(protected).unwrap(), "t");
        let conf = if pair.primary.major.number < 12 { "recovery.conf" } else { "postgresql.auto.conf" };
        let (conf, wanted) = (pair.conf(conf), format!("sslmode=verify-full sslrootcert={}{direct}", ours.path));
        assert!(conf.contains(&wanted), "{conf}");
    }
}

/// As PostgreSQL's own documentation makes them: names in the common name only, signed by themselves
/// or, by older programs, of X.509 version 1.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_by_the_book_are_believed() {
    let Some(pair) = pair(Major::newest().ok()) else { return };
    let openssl = |line: &str| Tool::new("openssl").args(line.split(' ')).output();
    if openssl("version").is_err() {
        assert!(std::env::var_os("CI").is_none(), "openssl is missing in CI");
        return println!("skipped: needs openssl");
    }
    let path = |name: &str| pair.lab.path(name);
    let made = |line: String| assert!(openssl(&line).unwrap().status.success(), "openssl {line}");
    let (own, key) = (path("own.crt"), path("own.key"));
    made(format!("req -new -x509 -days 9 -nodes -subj /CN={NAME} -out {own} -keyout {key}"));
    let serve = |certificate: &str| {
        let text = |path: &str| std::fs::read_to_string(path).unwrap();
        let key = put(&pair.lab, "served.key", &text(&key), "postgres", 0o600);
        pair.serve_tls(&(certificate.to_owned(), key), OPEN);
    };
    serve(&own);
    for mode in ["require", "verify-ca", "verify-full"] {
        pair.reaches(&format!("sslmode={mode} sslrootcert={own}"), "over TLSv1.3").await;
    }
    pair.refuses(&format!("sslmode=verify-full sslrootcert={own} host=other"), "not for other", "hostaddr=").await;
    let other = Authority::new(&pair.lab, "other").path;
    pair.refuses(&format!("sslmode=verify-ca sslrootcert={other}"), "signed by itself", "sslrootcert=").await;

    let (request, signed, ca) = (path("r.csr"), path("signed.crt"), path("ca.crt"));
    made(format!("req -new -x509 -nodes -subj /CN=root -out {ca} -keyout {}", path("ca.key")));
    made(format!("req -new -nodes -subj /CN={NAME} -key {key} -out {request}"));
    let sign = |more: &str| {
        let keys = format!("-CA {ca} -CAkey {} -CAcreateserial", path("ca.key"));
        made(format!("x509 -req -in {request} -days 9 {keys} -out {signed}{more}"));
    };
    let extension = put(&pair.lab, "ext", "keyUsage = digitalSignature\n", "root", 0o644);
    sign(&format!(" -extfile {extension}"));
    serve(&signed);
    pair.reaches(&format!("sslmode=verify-full sslrootcert={ca}"), "over TLSv1.3").await;
    sign("");
    let shown = openssl(&format!("x509 -noout -text -in {signed}")).unwrap();
    if !String::from_utf8_lossy(&shown.stdout).contains("Version: 1 ") {
        return println!("skipped: this openssl makes no certificates of version 1");
    }
    serve(&signed);
    pair.reaches("sslmode=require", "over TLSv1.3").await;
    pair.refuses(&format!("sslmode=verify-ca sslrootcert={ca}"), "X.509 version 1", "subjectAltName").await;
}
