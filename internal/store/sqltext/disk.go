package sqltext

// DiskSize is the size of a store in bytes.
type DiskSize struct {
	Used  int64 // in use, with the log
	Files int64 // of the files on disk
	Log   int64 // not yet in the database file
	Free  int64 // of the files, to be used again
}

// DiskParts are bytes of tables that no tenant is charged for.
type DiskParts struct{ Audit, Statistics int64 }
