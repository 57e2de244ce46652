//! Credentials and proxies as the environment names them: instance roles, assumed roles, `HTTPS_PROXY`.

use reseed_lab::Tool;
use reseed_tests::binary;
use reseed_tests::canned::Canned;

const NOTHING_THERE: &str = "<?xml version=\"1.0\"?><ListBucketResult><Name>backups</Name><KeyCount>0</KeyCount>\
                             <IsTruncated>false</IsTruncated></ListBucketResult>";

/// Looks into a repository with this environment.
fn list(environment: &[(&str, &str)], home: &str) -> std::process::Output {
    let clean = ["AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
    let mut tool = Tool::new(binary()).args(["staged", "list", "s3://backups/pg"]).env("HOME", home);
    for name in clean {
        tool = tool.env(name, "");
    }
    for (name, value) in environment {
        tool = tool.env(name, *value);
    }
    tool.env("AWS_REGION", "eu-central-1").output().unwrap()
}

/// The access key with which the bucket was listed.
fn signer(server: &Canned) -> String {
    let heads = server.heads();
    let listing = heads.iter().find(|head| head.starts_with("GET /backups")).unwrap_or_else(|| panic!("{heads:#?}"));
    let (_, rest) = listing.split_once("Credential=").unwrap();
    rest.split('/').next().unwrap_or_default().to_owned()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_role_of_an_instance_is_used() {
    let server = Canned::answering(|line, _| {
        let keys = "{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"INSTANCE\",\"SecretAccessKey\":\"s\",\
                    \"Token\":\"t\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"Expiration\":\"2099-01-01T00:00:00Z\"}";
        match line.split(' ').nth(1).unwrap_or_default() {
            "/latest/api/token" => (200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "token".to_owned()),
            path if path.ends_with("/security-credentials/") => (200, "", "role".to_owned()),
            path if path.ends_with("/security-credentials/role") => (200, "", keys.to_owned()),
            path if path.starts_with("/backups") => (200, "", NOTHING_THERE.to_owned()),
            _ => (404, "", String::new()),
        }
    });
    let home = tempfile::tempdir().unwrap();
    let url = server.url();
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str()), ("AWS_ENDPOINT_URL_S3", &url)];
    let output = list(&environment, &home.path().to_string_lossy());
    assert!(output.status.success(), "{}\n{:#?}", said(&output), server.heads());
    assert_eq!(signer(&server), "INSTANCE");
}

#[test]
fn the_role_that_a_profile_names_is_assumed() {
    let server = Canned::answering(|line, body| {
        let assumed = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
                       <AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/b/b</Arn>\
                       </AssumedRoleUser><Credentials><AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s\
                       </SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                       </Credentials></AssumeRoleResult></AssumeRoleResponse>";
        match line {
            line if line.starts_with("POST / ") && body.contains("Action=AssumeRole") => (200, "", assumed.to_owned()),
            line if line.starts_with("GET /backups") => (200, "", NOTHING_THERE.to_owned()),
            _ => (404, "", String::new()),
        }
    });
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    let role = "[profile backup]\nrole_arn = arn:aws:iam::123456789012:role/backup\nsource_profile = base\n\n\
                [profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\n";
    std::fs::write(&config, role).unwrap();
    let (url, config) = (server.url(), config.to_string_lossy().into_owned());
    let environment = [
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_PROFILE", "backup"),
        ("AWS_ENDPOINT_URL_S3", &url),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    let output = list(&environment, &home.path().to_string_lossy());
    assert!(output.status.success(), "{}\n{:#?}", said(&output), server.heads());
    assert_eq!(signer(&server), "ASSUMED");
    let heads = server.heads();
    assert!(heads[0].starts_with("POST / ") && heads[0].contains("Credential=BASE/"), "{heads:#?}");
}

#[test]
fn the_proxy_of_the_environment_is_gone_through() {
    let proxy = Canned::answering(|_, _| (407, "", String::new()));
    let home = tempfile::tempdir().unwrap();
    let url = proxy.url();
    let environment = [
        ("AWS_ENDPOINT_URL_S3", "https://s3.example.invalid"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("HTTPS_PROXY", &url),
    ];
    let output = list(&environment, &home.path().to_string_lossy());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("can't be reached") && said(&output).contains("hint:"), "{}", said(&output));
    assert!(proxy.heads()[0].starts_with("CONNECT s3.example.invalid:443 "), "{:#?}", proxy.heads());
}
