//! A namespace with more labelled ConfigMaps than are read.

use super::*;
use crate::model::input::object::MAX_OBJECTS_PER_NAMESPACE;

/// A namespace with more ConfigMaps than are read hides none of another namespace.
#[tokio::test(start_paused = true)]
async fn a_crowded_namespace_hides_nobody_else() {
    let most = MAX_OBJECTS_PER_NAMESPACE;
    let crowd = (0..most + 1_200).map(|number| object(&format!("n{number:06}"), ""));
    let mut good = object("good", "8.8.8.8");
    good["metadata"]["namespace"] = json!("zzz");
    let rig = rig(with(crowd.chain([good.clone()]).collect()));
    pass(2.0).await;
    let last = format!("n{:06}", most - 1);
    let is_marked = |rig: &Rig| {
        let known = rig.known();
        let mut named = known.objects.iter().filter(|(id, _)| id.name == last);
        named.next().is_some_and(|(_, object)| object.is_last_read)
    };
    assert_eq!(rig.value("good").as_deref(), Some("8.8.8.8"));
    assert!(rig.known().objects.len() == most + 1 && rig.known().is_certain());
    assert!(is_marked(&rig));
    // Neither the deletion of the marked object nor its return shows that there are no more.
    for event in ["DELETED", "ADDED"] {
        let marked = object(&last, "1.1.1.1");
        let line = json!({"type": event, "object": marked});
        rig.server(|server| server.tell(&line.to_string()));
        pass(1.0).await;
        assert!(is_marked(&rig), "{event}");
    }
    rig.server(|server| server.objects = vec![good]);
    pass(RESYNC.as_secs_f64() + 60.0).await;
    assert_eq!(
        rig.known().objects.len(),
        1,
        "a list shows that they are gone"
    );
}
