use super::*;
use crate::format::{Manifest, manifest_key};

/// Keys of nobody, made for these tests.
const ONE: &str = "MC4CAQAwBQYDK2VwBCIEIBO2JHb+uY/QrA8ES01EplHRUOSIrTxX1bEkjY7gys4k";
const ONE_PUBLIC: &str = "MCowBQYDK2VwAyEAvLrp7eBCFW/wJTT1h1UswaLCWN0mLRTh7VIs20ZoQH0=";
const OTHER_PUBLIC: &str = "MCowBQYDK2VwAyEAJzLYekR3hsFh4L8h2G9FHYWfv2HWsWYQn0+FME8uILU=";

fn signer() -> Signer {
    Signer::parse(&format!("-----BEGIN PRIVATE KEY-----\n{ONE}\n-----END PRIVATE KEY-----\n")).unwrap()
}

fn identity() -> (String, Identities) {
    use age::secrecy::ExposeSecret;
    let key = age::x25519::Identity::generate();
    let file = format!("# created: today\n# public key: …\n{}\n", key.to_string().expose_secret());
    (key.to_public().to_string(), Identities::parse(&file).unwrap())
}

fn manifest() -> Manifest {
    let text = r#"{"format": "reseed-staged", "version": 1, "run": "r", "created": 1, "parent": null, "depth": 0,
        "storage": "zfs", "streams": [{"dataset": "d", "mountpoint": "/d", "snapshot": "s", "guid": "g",
        "from_guid": null, "main": true, "encodings": [], "recipients": [], "size": 0,
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "chunks": []}],
        "left_out": [], "facts": {"label": {"b": 1.5, "a": "x\n  \"signature\": \"y\","}}}"#;
    read(text.as_bytes())
}

fn read(bytes: &[u8]) -> Manifest {
    Manifest::read(&manifest_key("d", "r", 0).unwrap(), bytes).unwrap()
}

#[test]
fn what_is_encrypted_to_several_each_of_them_opens() {
    let [(one, first), (other, second)] = [identity(), identity()];
    let (_, stranger) = identity();
    let object = Recipients::parse([&*one, &*other]).unwrap().encrypt(b"rows").unwrap();
    assert!(object.starts_with(b"age-encryption.org/v1\n"));
    for opens in [first, second] {
        assert_eq!(opens.decrypt(&object).unwrap(), b"rows");
    }
    for does_not in [stranger, Identities::default()] {
        let error = does_not.decrypt(&object).unwrap_err();
        assert!(error.contains("can't be decrypted"), "{error}");
    }
}

#[test]
fn no_secret_prints() {
    let (_, identities) = identity();
    let seal = Seal { identities, signer: Some(signer()), ..Seal::default() };
    let text = format!("{seal:?}");
    assert!(text.contains("1 identities") && text.contains("a secret key") && !text.contains("AGE-SECRET"), "{text}");
    for wrong in ["AGE-SECRET-KEY-1HUNTER2", "", "# alone"] {
        assert_eq!(Identities::parse(wrong).unwrap_err(), "this is no identity of age");
        assert_eq!(Signer::parse(wrong).unwrap_err(), "this is no secret key of Ed25519 in PEM");
    }
}

#[test]
fn what_a_trusted_key_signed_is_trusted_and_nothing_else() {
    let trust = Trust::parse([OTHER_PUBLIC, ONE_PUBLIC]).unwrap();
    let judged = |trust: &Trust, bytes: &[u8]| trust.judge(&read(bytes), bytes);
    let unsigned = manifest().to_bytes().unwrap();
    let signed = manifest().signed(Some(&signer())).unwrap().to_bytes().unwrap();
    assert_eq!(judged(&trust, &signed), Ok(()));
    assert_eq!(judged(&Trust::default().and(Some(&signer())), &signed), Ok(()));
    assert_eq!(judged(&Trust::default(), &unsigned), Ok(()));
    assert_eq!(judged(&trust, &unsigned).unwrap_err(), "it is not signed");
    let other = Trust::parse([OTHER_PUBLIC]).unwrap();
    assert!(judged(&other, &signed).unwrap_err().contains("signed by a key that is not trusted"));
}

#[test]
fn not_one_byte_of_what_is_signed_can_change() {
    let trust = Trust::parse([ONE_PUBLIC]).unwrap();
    let key = manifest_key("d", "r", 0).unwrap();
    let signed = manifest().signed(Some(&signer())).unwrap().to_bytes().unwrap();
    for at in 0..signed.len() {
        let mut altered = signed.to_vec();
        altered[at] ^= 1;
        let read = Manifest::read(&key, &altered);
        assert!(read.is_err() || trust.judge(&read.unwrap(), &altered).is_err(), "byte {at}");
    }
    for more in [signed.iter().chain(b" ").copied().collect(), [b" ", &signed[..]].concat()] {
        assert!(trust.judge(&read(&more), &more).is_err());
    }
}

#[test]
fn what_is_signed_is_the_object_without_one_line() {
    let signed = manifest().signed(Some(&signer())).unwrap().to_bytes().unwrap();
    let text = std::str::from_utf8(&signed).unwrap();
    let (lines, rest): (Vec<_>, Vec<_>) = text.split_inclusive('\n').partition(|l| l.starts_with("  \"signature\": "));
    assert_eq!(lines.len(), 1);
    assert_eq!(rest.concat().as_bytes(), manifest().to_bytes().unwrap());
}
