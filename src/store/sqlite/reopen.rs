//! Opening the database again while the store is served: after an input/output error, or when a file was put in its place.
//! It is taken only if it is this store and holds every change that was answered.

use std::{fs::File, io::Read, path::Path};

use super::{
    super::{StoreError, glance::Glance},
    db::{Db, connect},
    fault, header, open,
    owner::Owner,
    place::{Place, Seen},
    progress,
};

/// Why it was not opened.
pub(super) enum Refused {
    /// The disk or the database refused: it may be tried again.
    Failed(StoreError),
    /// It is not what was served. Said after "… and".
    Foreign(String),
}

/// Opens what has the name, without making anything.
pub(super) fn open(owner: &Owner, seen: Seen) -> Result<(Db, Place), Refused> {
    let path = owner.files.database();
    let foreign = |detail: &str| Err(Refused::Foreign(detail.to_owned()));
    let id = match seen {
        Seen::Other(found) | Seen::Changed(found) => Some(found.id),
        Seen::Served | Seen::Nothing => None,
    };
    if id.is_some() && would_be_played_back(&owner.files.journal()) {
        return foreign("a journal lies beside it that does not belong to it");
    }
    if id.is_some() && header::judge(path).is_err() {
        return foreign("what lies there is no sound store");
    }
    let damaged = "what lies there is damaged";
    let connection = match connect(path) {
        Err(error)
            if id.is_some() && error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) =>
        {
            return Err(Refused::Failed(
                owner.place.displaced(seen, "another program has what lies there open"),
            ));
        }
        connected => connected.map_err(|error| refused(error, damaged))?,
    };
    let found = progress::read(&connection).map_err(|error| refused(error, damaged))?;
    match found {
        Some(found) if found.store != owner.progress.store => {
            return foreign("what lies there is another store");
        }
        Some(found) if found.is_behind(&owner.progress) => {
            return foreign("what lies there is an older copy of it");
        }
        Some(_) => {}
        None => return foreign("what lies there does not say which store it is"),
    }
    if id.is_some()
        && let Some(damage) = open::find_damage(&connection, path).map_err(|e| Refused::Failed(e.into()))?
    {
        return Err(Refused::Foreign(format!("what lies there is damaged: {damage}")));
    }
    let place = Place::of(&owner.files).map_err(|error| Refused::Failed(super::owner::unseen(&error)))?;
    let now = Glance::at(path).ok().flatten().map(|now| now.id);
    if id.is_some() && now != id {
        return Err(Refused::Failed(place.displaced(seen, "it was replaced once more")));
    }
    let (sealer, pepper, spill) = (owner.sealer.clone(), owner.pepper.clone(), Some(owner.spill.clone()));
    Ok((Db { connection, sealer, pepper, spill }, place))
}

/// Whether SQLite would undo changes by that journal.
fn would_be_played_back(journal: &Path) -> bool {
    let mut head = [0; 8];
    File::open(journal).is_ok_and(|mut file| file.read_exact(&mut head).is_ok() && head != [0; 8])
}

fn refused(error: rusqlite::Error, foreign: &str) -> Refused {
    if fault::is_damage(&error) {
        Refused::Foreign(foreign.to_owned())
    } else {
        Refused::Failed(error.into())
    }
}
