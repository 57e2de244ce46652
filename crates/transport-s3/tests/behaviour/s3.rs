//! Buckets of SeaweedFS, straight and through a bad line.

use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use reseed_core::Error;
use reseed_lab::{Lab, Seaweed};
use reseed_transport_s3::store::{Keys, S3Settings, S3Store, Sha256, Store, probe};

use crate::proxy::{Fault, Proxy};
use crate::suite::{holds, key, noise, put};

/// A server with the bucket `backups`; it ends with this.
pub struct Server {
    pub port: u16,
    pub keys: Keys,
    pub is_seaweed: bool,
    pub lab: Lab,
    /// Before the lab.
    _seaweed: Option<Seaweed>,
}

/// A SeaweedFS; or, where `RESEED_TEST_S3` is `PORT ID SECRET`, the server that listens there, whose bucket is
/// emptied. Where SeaweedFS is not installed the test is skipped, and in CI it fails.
pub async fn server() -> Option<Server> {
    let lab = Lab::new().unwrap();
    if let Ok(given) = std::env::var("RESEED_TEST_S3") {
        let words: Vec<_> = given.split(' ').collect();
        let &[port, id, secret] = &words[..] else { panic!("RESEED_TEST_S3 is `PORT ID SECRET`") };
        let (port, keys) = (port.parse().unwrap(), Keys::new(id, secret, None));
        let server = Server { port, keys, is_seaweed: false, lab, _seaweed: None };
        // It may be there from the test before.
        let _ = client(&server).create_bucket().bucket("backups").send().await;
        let store = S3Store::new(settings(&server, ""));
        for object in store.list("").await.unwrap() {
            store.delete(&object.key).await.unwrap();
        }
        return Some(server);
    }
    if Seaweed::missing().is_some() {
        assert!(std::env::var_os("CI").is_none(), "nothing may be skipped in CI: SeaweedFS is missing");
        println!("skipped: needs SeaweedFS: scripts/get-seaweedfs");
        return None;
    }
    let seaweed = Seaweed::in_lab(&lab).unwrap();
    seaweed.bucket("backups").unwrap();
    let keys = Keys::new(&seaweed.access_key_id, &seaweed.secret_access_key, None);
    Some(Server { port: seaweed.port, keys, is_seaweed: true, lab, _seaweed: Some(seaweed) })
}

pub fn settings(server: &Server, prefix: &str) -> S3Settings {
    let endpoint = Some(format!("http://127.0.0.1:{}", server.port));
    S3Settings { endpoint, keys: Some(server.keys.clone()), ..S3Settings::new("backups", prefix) }
}

/// A plain client of the SDK, as somebody else would look at the bucket.
pub fn client(server: &Server) -> aws_sdk_s3::Client {
    let keys = Credentials::new(&server.keys.access_key_id, &server.keys.secret_access_key, None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://127.0.0.1:{}", server.port))
        .force_path_style(true)
        .credentials_provider(keys);
    let http = aws_smithy_http_client::Builder::new().build_http();
    aws_sdk_s3::Client::from_conf(config.http_client(http).build())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_a_store() {
    let Some(server) = server().await else { return };
    // A neighbour whose name begins in the same way is somebody else.
    let neighbour = S3Store::new(settings(&server, "pg/main-2"));
    put(&neighbour, "orders", &noise(1, 10)).await;
    holds(Arc::new(S3Store::new(settings(&server, "pg/main")))).await;
    assert_eq!(neighbour.list("").await.unwrap().len(), 1);
    neighbour.delete(&key("orders")).await.unwrap();
    let whole = S3Store::new(settings(&server, ""));
    probe(&whole).await.unwrap();
    holds(Arc::new(whole)).await;
}

async fn errors(settings: S3Settings) -> Vec<Error> {
    let store = S3Store::new(settings);
    let bytes = noise(1, 10);
    vec![
        store.put(&key("a"), bytes.clone(), Sha256::of(&bytes)).await.unwrap_err(),
        store.put_new(&key("a"), bytes.clone(), Sha256::of(&bytes)).await.unwrap_err(),
        store.get(&key("a")).await.unwrap_err(),
        store.list("").await.unwrap_err(),
    ]
}

fn each_says(errors: Vec<Error>, what: &str, hint: &str) {
    for error in errors {
        assert!(error.chain().contains(what), "{}", error.chain());
        assert!(
            error.hint_text().is_some_and(|text| text.contains(hint)),
            "{}: {:?}",
            error.chain(),
            error.hint_text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_what_to_do() {
    let Some(server) = server().await else { return };
    let good = || settings(&server, "pg");
    let absent = S3Settings { bucket: "absent".to_owned(), ..good() };
    let absent = S3Store::new(absent);
    // Only reading: for a user who may do everything this server makes a bucket that is written to.
    let reading = vec![absent.list("").await.unwrap_err(), absent.get(&key("a")).await.unwrap_err()];
    each_says(reading, "there is no such bucket", "s3 mb s3://absent");
    let id = &server.keys.access_key_id;
    let unknown = S3Settings { keys: Some(Keys::new("nobody", "x", None)), ..good() };
    each_says(errors(unknown).await, "doesn't know the access key", "access_key_id");
    let wrong = S3Settings { keys: Some(Keys::new(id, "wrong", None)), ..good() };
    each_says(errors(wrong).await, "the secret key is not", "secret_access_key");
    let nowhere = format!("http://127.0.0.1:{}", reseed_lab::free_port().unwrap());
    let unreachable = S3Settings { endpoint: Some(nowhere), ..good() };
    let listed = S3Store::new(unreachable).list("").await.unwrap_err();
    each_says(vec![listed], "can't be reached", "curl -v http://127.0.0.1");
    let no_file = S3Settings { ca_file: Some(server.lab.directory().join("absent.pem")), ..good() };
    each_says(errors(no_file).await, "can't read the CA file", "ls -l");
    let no_pem = S3Settings { ca_file: Some("/etc/passwd".into()), ..good() };
    each_says(errors(no_pem).await, "holds no certificate", "openssl x509");
    let no_profile = S3Settings { profile: Some("absent-profile".to_owned()), keys: None, ..good() };
    each_says(errors(no_profile).await, "no credentials were found", "profile");
    assert_eq!(S3Store::new(good()).list("").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_ends_in_a_right_result_or_a_clean_error() {
    use Fault::{CutDownload, CutUpload, LostAnswer, SlowDown};
    let Some(server) = server().await else { return };
    let proxy = Proxy::before(server.port).await;
    let through = format!("http://127.0.0.1:{}", proxy.port);
    let store = S3Store::new(S3Settings { endpoint: Some(through), ..settings(&server, "line") });
    let straight = S3Store::new(settings(&server, "line"));
    for (number, faults) in
        [vec![SlowDown], vec![CutUpload], vec![LostAnswer], vec![SlowDown, CutUpload, LostAnswer]].iter().enumerate()
    {
        let (name, bytes) = (format!("put-{number}"), noise(number as u64, 3 << 20));
        proxy.next(faults);
        put(&store, &name, &bytes).await;
        assert_eq!(proxy.left(), 0);
        assert!(straight.get(&key(&name)).await.unwrap() == Some(bytes));
    }
    for faults in [vec![SlowDown], vec![CutDownload], vec![CutDownload, LostAnswer, CutDownload]] {
        proxy.next(&faults);
        assert!(store.get(&key("put-0")).await.unwrap() == Some(noise(0, 3 << 20)), "{faults:?}");
        proxy.next(&faults);
        assert_eq!(store.list("").await.unwrap().len(), 4, "{faults:?}");
        proxy.next(&[faults[0]]);
        assert_eq!(store.size(&key("put-0")).await.unwrap(), Some(3 << 20), "{faults:?}");
    }
    let bytes = noise(9, 1 << 20);
    let create = async |name: &str, faults: &[Fault]| {
        proxy.next(faults);
        store.put_new(&key(name), bytes.clone(), Sha256::of(&bytes)).await.unwrap()
    };
    assert!(create("new-1", &[SlowDown, CutUpload]).await);
    // It is there, and that this call stored it nobody can know.
    assert!(!create("new-2", &[LostAnswer]).await);
    assert!(straight.get(&key("new-2")).await.unwrap() == Some(bytes.clone()));
    // A line that breaks each time ends in an error, and not in half of an object.
    proxy.next(&[CutDownload; 20]);
    let error = store.get(&key("put-0")).await.unwrap_err();
    assert!(error.chain().contains("the line breaks each time"), "{}", error.chain());
    proxy.next(&[CutUpload; 20]);
    let error = store.put(&key("never"), bytes.clone(), Sha256::of(&bytes)).await.unwrap_err();
    assert!(error.hint_text().is_some(), "{}", error.chain());
    assert_eq!(straight.get(&key("never")).await.unwrap(), None);
}
