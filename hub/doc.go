// Package hub fetches, keeps, lists and shares model and dataset repositories of the Hugging Face hub, or of
// any server that speaks its HTTP API.
//
// The cache on disk is the one of the huggingface_hub Python package, so that both programs share it:
//
//	<cache>/models--ORG--NAME/blobs/<etag>                  contents: sha256 of LFS files, git's blob id of others
//	<cache>/models--ORG--NAME/blobs/<etag>.incomplete       the beginning of a file that is still on its way
//	<cache>/models--ORG--NAME/refs/<revision>               the commit that a branch or tag stands for
//	<cache>/models--ORG--NAME/snapshots/<commit>/<file>     relative symbolic links into blobs
//	<cache>/models--ORG--NAME/trees/<commit>.json           the list of a commit's files
//	<cache>/.locks/models--ORG--NAME/<etag>.lock            held by flock while a blob is being fetched
//
// An .incomplete file is always a gapless prefix: parts that arrive early wait in memory. Its length is
// therefore all there is to know for going on, after a crash too, and other programs may go on with it.
//
// Everything that comes from the server is checked: file names, sizes, hashes. The token goes to the endpoint
// itself and to no other host, and never into an error.
package hub
