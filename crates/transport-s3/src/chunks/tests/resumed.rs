//! Puts of a stream that go on behind what an earlier one has kept.

use super::*;
use crate::format::{mark_key, marks_of};
use crate::seal::{Signer, Trust};
use crate::uploads::{Before, Marks, before, forget_from};

/// Places of which chunks of `lengths` end: three records each, then two.
const CUTS: [u64; 7] = [93, 186, 279, 372, 465, 558, 620];

fn marked(store: &Arc<dyn Store>, signer: Option<Signer>) -> Keeping {
    Keeping { marks: Some(Marks(signer)), ..Keeping::new(store, "run") }
}

fn planned() -> Stream {
    of(&Written { size: 0, sha256: Sha256::of(&[]), chunks: vec![], head: None, sent: 0 })
}

/// What a put keeps whose source breaks behind so many bytes.
async fn broken_off(store: &Arc<dyn Store>, signer: Option<Signer>, bytes: usize) {
    let data = &lengths()[..bytes];
    let judge = Judge::of("lengths", &planned());
    write_judged(&marked(store, signer), 0, stream(data, true), judge, &how()).await.unwrap_err();
}

async fn kept(store: &Arc<dyn Store>, trust: &Trust) -> Option<Before> {
    before(store, "run", 0, trust).await.unwrap()
}

fn signer(number: u8) -> (Signer, Trust) {
    use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding};
    let key = ed25519_dalek::SigningKey::from_bytes(&[number; 32]);
    let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let signer = Signer::parse(&key.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap();
    (signer, Trust::parse([public.lines().nth(1).unwrap()]).unwrap())
}

#[tokio::test]
async fn a_put_that_goes_on_is_the_one_that_was_never_broken_off() {
    let (data, directory) = (lengths(), tempfile::tempdir().unwrap());
    let never = store(&directory);
    let judge = Judge::of("lengths", &planned());
    let whole = write_judged(&Keeping::new(&never, "run"), 0, stream(&data, false), judge, &how()).await.unwrap();
    assert_eq!(whole.head.as_deref(), Some("lengths"));
    let places: Vec<_> = whole.chunks.iter().map(|chunk| chunk.place.clone()).collect();
    let cuts = CUTS.map(|cut| Some(cut.to_string()));
    assert_eq!((&places[0], &places[1..8], &places[8..]), (&None, &cuts[..], &[None, None][..]));
    for bytes in [0, 90, 100, 200, 500, 600, 700, 800, data.len() - 1] {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        broken_off(&store, None, bytes).await;
        let kept = kept(&store, &Trust::default()).await;
        // A chunk is cut when as many bytes as it may have are there.
        let cut = CUTS.into_iter().zip(1..).take_while(|(cut, _)| cut.div_ceil(93) * 93 + 7 <= bytes as u64).last();
        let Some(kept) = kept else {
            assert!(bytes < 100, "{bytes}: nothing is kept");
            continue;
        };
        let offset = kept.place.offset;
        assert_eq!(Some((offset, kept.chunks.len())), cut, "{bytes}");
        let rest = stream(&data[offset as usize..], false);
        let written = write_behind(&marked(&store, None), 0, kept, rest, ("lengths", &planned()), &how()).await;
        let written = written.unwrap();
        assert_eq!(Written { sent: whole.sent, ..written.clone() }, whole, "{bytes}");
        assert!(written.sent < whole.sent);
        assert_eq!(all(read(&store, &of(&written), &reading(2))).await.0, data);
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_as_it_was_marked_is_not_gone_on_behind() {
    let harms: [fn(&std::path::Path, &Before); 4] = [
        |root, kept| std::fs::remove_file(root.join(&kept.chunks[2].object)).unwrap(),
        |root, kept| std::fs::write(root.join(&kept.chunks[2].object), "x").unwrap(),
        |root, _| std::fs::remove_file(root.join(mark_key("run", 0, 2).unwrap().as_str())).unwrap(),
        |root, _| {
            let mark = root.join(mark_key("run", 0, 2).unwrap().as_str());
            let text = std::fs::read_to_string(&mark).unwrap();
            std::fs::write(mark, text.replace("\"size\": 279", "\"size\": 278")).unwrap();
        },
    ];
    for harm in harms {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        broken_off(&store, None, 600).await;
        let whole = kept(&store, &Trust::default()).await.unwrap();
        assert_eq!(whole.chunks.len(), 6);
        harm(directory.path(), &whole);
        let rest = kept(&store, &Trust::default()).await.unwrap();
        assert_eq!((rest.chunks.len(), rest.place.offset), (2, 186));
    }
}

#[tokio::test]
async fn a_mark_that_nobody_who_is_trusted_has_signed_counts_for_nothing() {
    let ((one, trusted), (other, _)) = (signer(1), signer(2));
    for (signs, count) in [(Some(one), Some(6)), (Some(other), None), (None, None)] {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        broken_off(&store, signs, 600).await;
        assert_eq!(store.list(&marks_of("run", 0)).await.unwrap().len(), 6);
        assert_eq!(kept(&store, &trusted).await.map(|kept| kept.chunks.len()), count);
    }
}

#[tokio::test]
async fn marks_of_what_is_put_anew_are_forgotten_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    broken_off(&store, None, 600).await;
    forget_from(&store, "run", 1, 0).await.unwrap();
    for (from, left) in [(6, 6), (3, 3), (0, 0)] {
        forget_from(&store, "run", 0, from).await.unwrap();
        assert_eq!(store.list(&marks_of("run", 0)).await.unwrap().len(), left);
        assert_eq!(kept(&store, &Trust::default()).await.map_or(0, |kept| kept.chunks.len()), left);
    }
}
