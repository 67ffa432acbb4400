// The linear index of a workgroup in a dispatch whose count may exceed 65,535 per dimension and was
// folded into x and y by the host (`gpu::grid`). Workgroups beyond the count must leave by themselves.
fn workgroup_index(workgroup_id: vec3<u32>, num_workgroups: vec3<u32>) -> u32 {
    return workgroup_id.y * num_workgroups.x + workgroup_id.x;
}
