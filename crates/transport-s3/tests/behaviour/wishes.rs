//! What settings add to requests, as a server sees it, and what a real server makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reseed_core::Class;
use reseed_transport_s3::store::{
    CustomerKey, Keys, Leased, LockMode, ObjectLock, Proxy as Way, S3Settings, S3Store, Sha256, Store, probe,
};

use crate::proxy::Proxy;
use crate::s3::{client, server, settings};
use crate::suite::{holds, key, noise, put};

const OWN: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const CHUNK: &str = "chunks/run/000/00000000.zst";

fn to(proxy: &Proxy) -> S3Settings {
    let keys = Some(Keys::new("id", "secret", Some("token".to_owned())));
    S3Settings { endpoint: Some(proxy.endpoint()), keys, ..S3Settings::new("backups", "pg") }
}

fn with_all_wishes(settings: S3Settings) -> S3Settings {
    let tags = [("team", "data"), ("what for", "a&b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    S3Settings {
        storage_class: Some("STANDARD_IA".to_owned()),
        sse_c_key: Some(CustomerKey::parse(OWN).unwrap()),
        object_lock: Some(ObjectLock { mode: LockMode::Governance, keep: Duration::from_secs(3600) }),
        legal_hold: true,
        tags: BTreeMap::from(tags),
        ..settings
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wish_is_in_the_head_of_its_request() {
    let proxy = Proxy::alone().await;
    let store = S3Store::new(with_all_wishes(to(&proxy)));
    put(&store, CHUNK, &noise(1, 10)).await;
    let head = proxy.heads().pop().unwrap();
    for line in [
        "x-amz-security-token: token",
        "x-amz-storage-class: STANDARD_IA",
        "x-amz-server-side-encryption-customer-algorithm: AES256",
        &format!("x-amz-server-side-encryption-customer-key: {OWN}"),
        "x-amz-server-side-encryption-customer-key-md5: hRasmdxgYDKV3nvbahU1MA==",
        "x-amz-object-lock-mode: GOVERNANCE",
        "x-amz-object-lock-retain-until-date: 20",
        "x-amz-object-lock-legal-hold: ON",
        "x-amz-tagging: team=data&what%20for=a%26b",
        "x-amz-checksum-sha256: ",
    ] {
        assert!(head.contains(&format!("\n{line}")), "{line} is not in\n{head}");
    }
    // Who reads brings the key; who deletes needs none.
    let _ = (store.get(&key(CHUNK)).await, store.size(&key(CHUNK)).await);
    let heads = proxy.heads();
    assert!(heads.len() >= 2 && heads.iter().all(|head| head.contains("customer-key-md5: hRas")), "{heads:?}");
    store.delete(&key(CHUNK)).await.unwrap();
    assert!(!proxy.heads().concat().contains("customer"));
    // What comes and goes is not locked.
    put(&store, "probe/reseed-1", &noise(1, 10)).await;
    let head = proxy.heads().concat();
    assert!(head.contains("customer-key-md5") && !head.contains("object-lock"), "{head}");
    assert!(!format!("{store:?}").contains(OWN));
}

#[tokio::test(flavor = "multi_thread")]
async fn sse_with_a_key_of_kms_is_asked_for() {
    let proxy = Proxy::alone().await;
    let kms = S3Settings { sse: Some("aws:kms".into()), sse_kms_key_id: Some("alias/pg".into()), ..to(&proxy) };
    put(&S3Store::new(kms), CHUNK, &noise(1, 10)).await;
    let head = proxy.heads().concat();
    assert!(head.contains("\nx-amz-server-side-encryption: aws:kms\n"), "{head}");
    assert!(head.contains("\nx-amz-server-side-encryption-aws-kms-key-id: alias/pg\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_named_is_gone_through() {
    let proxy = Proxy::alone().await;
    let login = Some(("me".to_owned(), "hunter2".to_owned()));
    let way = |login| Way::Url { url: proxy.endpoint(), login };
    let nowhere = S3Settings { endpoint: Some("http://s3.example.invalid:9000".to_owned()), ..to(&proxy) };
    let store = S3Store::new(S3Settings { proxy: way(login), ..nowhere.clone() });
    put(&store, CHUNK, &noise(1, 10)).await;
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "credentials and regions of an instance are nobody's business on the way: {heads:?}");
    let head = heads.concat();
    assert!(head.starts_with(&format!("PUT http://s3.example.invalid:9000/backups/pg/{CHUNK}")), "{head}");
    // printf %s me:hunter2 | base64
    assert!(head.contains("\nproxy-authorization: Basic bWU6aHVudGVyMg==\n"), "{head}");
    let store = S3Store::new(S3Settings { proxy: way(None), ..nowhere.clone() });
    put(&store, CHUNK, &noise(1, 10)).await;
    assert!(!proxy.heads().concat().contains("proxy-authorization"));
    // For https the proxy is asked to connect, and is given no more to see.
    let secret = S3Settings { endpoint: Some("https://s3.example.invalid".to_owned()), ..nowhere.clone() };
    let store = S3Store::new(S3Settings { proxy: way(None), ..secret });
    let _ = tokio::time::timeout(Duration::from_secs(2), store.size(&key("a"))).await;
    let heads = proxy.heads();
    assert!(heads.first().is_some_and(|head| head.starts_with("CONNECT s3.example.invalid:443 ")), "{heads:?}");
    // A way that is straight leads to nobody here, and the proxy sees nothing.
    let store = S3Store::new(S3Settings { proxy: Way::Straight, ..nowhere });
    let _ = tokio::time::timeout(Duration::from_secs(2), store.size(&key("a"))).await;
    assert!(proxy.heads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_ones_own_opens_what_it_closed_and_no_other_does() {
    let Some(server) = server().await else { return };
    let with = |key: Option<&str>| {
        let sse_c_key = key.map(|key| CustomerKey::parse(key).unwrap());
        S3Store::new(S3Settings { sse_c_key, ..settings(&server, "own") })
    };
    if server.is_seaweed {
        // It names a field of its answer's head twice, which the SDK does not read.
        let error = probe(&with(Some(OWN))).await.unwrap_err();
        assert!(error.chain().contains("SSECustomerKeyMD5") && error.hint_text().is_some(), "{}", error.chain());
        assert_eq!(with(None).list("").await.unwrap(), [], "a refusal leaves nothing");
        return;
    }
    probe(&with(Some(OWN))).await.unwrap();
    holds(Arc::new(with(Some(OWN)))).await;
    let bytes = noise(1, 100_000);
    put(&with(Some(OWN)), CHUNK, &bytes).await;
    assert_eq!(with(Some(OWN)).get(&key(CHUNK)).await.unwrap(), Some(bytes.clone()));
    for wrong in [Some(OTHER), None] {
        match with(wrong).get(&key(CHUNK)).await {
            Ok(found) => assert_ne!(found, Some(bytes.clone()), "{wrong:?} opens it"),
            Err(error) => assert!(!error.chain().contains(OTHER), "{}", error.chain()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_kept_by_the_bucket_and_refused_where_there_is_none() {
    let Some(server) = server().await else { return };
    let client = client(&server);
    let made = client.create_bucket().bucket("locked").object_lock_enabled_for_bucket(true).send().await;
    assert!(made.is_ok() || !server.is_seaweed, "{made:?}");
    let locked = |bucket: &str| S3Settings {
        bucket: bucket.to_owned(),
        object_lock: Some(ObjectLock { mode: LockMode::Governance, keep: Duration::from_secs(3600) }),
        tags: BTreeMap::from([("team".to_owned(), "data".to_owned())]),
        ..settings(&server, "pg")
    };
    let mut store: Arc<dyn Store> = Arc::new(S3Store::new(locked("locked")));
    if !server.is_seaweed {
        // A bucket with lock keeps versions, and of those Ceph takes a second one whatever the condition says.
        let error = probe(store.as_ref()).await.unwrap_err();
        assert!(error.chain().contains("If-None-Match"), "{}", error.chain());
        assert!(error.hint_text().is_some_and(|hint| hint.contains("conditional_writes = false")));
        store = Leased::over(store);
    }
    probe(store.as_ref()).await.unwrap();
    let bytes = noise(1, 100);
    assert!(store.put_new(&key(CHUNK), bytes.clone(), Sha256::of(&bytes)).await.unwrap());
    let name = format!("pg/{CHUNK}");
    let kept = client.get_object_retention().bucket("locked").key(&name).send().await.unwrap();
    let mode = kept.retention().and_then(|retention| retention.mode());
    assert_eq!(mode.map(|mode| mode.as_str()), Some("GOVERNANCE"));
    let tags = client.get_object_tagging().bucket("locked").key(&name).send().await.unwrap();
    assert_eq!(tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect::<Vec<_>>(), [("team", "data")]);
    let error = probe(&S3Store::new(locked("backups"))).await.unwrap_err();
    assert_eq!(error.class(), Class::Refused, "{}", error.chain());
    assert!(error.chain().contains("the bucket has no object lock"), "{}", error.chain());
    assert!(error.hint_text().is_some_and(|hint| hint.contains("put-object-lock-configuration")));
    let nothing = client.list_objects_v2().bucket("backups").send().await.unwrap();
    assert_eq!(nothing.key_count(), Some(0), "a refusal writes nothing");
}
