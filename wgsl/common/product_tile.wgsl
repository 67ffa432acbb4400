// What part of the product a workgroup owns: the first lines of `main` of the kernels that work in tiles of BM x BN.
//
// Rows first_row to first_row + n_rows of x and y, or of the list `sorted` with GROUPED; columns from first_column, whose
// weights are rows first_w_row + column of W; k_begin to k_end of K. With GROUPED, a workgroup without a tile leaves.
    let first_column = workgroup_id.x * {{BN}}u;
#if GROUPED
    let tile = tiles[workgroup_id.y];
    if tile.z == 0u {
        return;
    }
    let first_row = tile.y;
    let n_rows = tile.z;
    let first_w_row = tile.x * params.n;
#else
    let first_row = workgroup_id.y * {{BM}}u;
    let n_rows = min({{BM}}u, params.m - first_row);
    let first_w_row = 0u;
#endif
#if SPLIT
    let k_begin = workgroup_id.z * params.k_split;
    let k_end = min(k_begin + params.k_split, params.k);
#else
    let k_begin = 0u;
    let k_end = params.k;
#endif
